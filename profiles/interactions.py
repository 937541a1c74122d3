"""Parses records of the topic `interactions` into records for the fold, or into refusals with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from profiles.actions import IMPRESSION, UNDO, ProfileSettings
from profiles.checks import EVENT_ID_BYTES, Problem, check, check_id, check_user_id, shown
from profiles.event_time import event_time
from profiles.folding.events import Erasure, Event, Events, Position, Record, Skip, SlateImpression
from profiles.mappings import EventMapping
from profiles.times import LATEST_MS
from profiles.wire import Decoded, NotCloudEvent, NotJson, NotProtobuf, Undecodable, Unmappable, decode
from recstream.storage.v1 import profile_pb2 as storage
from recstream.v1 import interaction_pb2 as contract
from telemetry.unknown_fields import note_in

__all__ = [
    "KIND_ERASURE",
    "KIND_HEADER",
    "LATER_KIND",
    "UNKNOWN_ACTION",
    "Notices",
    "Problem",
    "Reason",
    "Refusal",
    "check",
    "parse",
]

KIND_HEADER: Final = "recstream-kind"
"""The header that says what a record's value is, on the topic `interactions`. Absent: an interaction."""
KIND_ERASURE: Final = b"erasure"
"""The value is a `recstream.storage.v1.Erasure`."""
LATER_KIND: Final = "later_kind"
"""The reason of a `Skip` for an event of a kind that only a later release knows."""
UNKNOWN_ACTION: Final = "unknown_action"
"""The reason of a `Skip` for an event of an action that the settings do not have."""

_DETAIL = 500
_PARTITIONS = 10_000
_TOPIC_ID_BYTES = 16


class Reason(StrEnum):
    """Why a record was refused. A label value of a metric."""

    NO_VALUE = "no_value"
    NO_TIMESTAMP = "no_timestamp"
    KIND_HEADER = "kind_header"
    NOT_PROTOBUF = "not_protobuf"
    NOT_JSON = "not_json"
    NOT_CLOUD_EVENT = "not_cloud_event"
    MAPPING = "mapping"
    ERASURE = "erasure"
    USER_ID = "user_id"
    EVENT_ID = "event_id"
    ITEM_ID = "item_id"
    ACTION = "action"
    EVENT_TIME = "event_time"
    VALUE = "value"
    UNDO = "undo"
    IMPRESSION = "impression"
    CONTEXT = "context"


# By the part of the field before a dot.
_REASONS: Final = {
    "user_id": Reason.USER_ID,
    "event_id": Reason.EVENT_ID,
    "item_id": Reason.ITEM_ID,
    "action": Reason.ACTION,
    "event_time": Reason.EVENT_TIME,
    "value": Reason.VALUE,
    "undo": Reason.UNDO,
    "impression": Reason.IMPRESSION,
}
_UNDECODABLE: Final = {
    NotProtobuf: Reason.NOT_PROTOBUF,
    NotJson: Reason.NOT_JSON,
    NotCloudEvent: Reason.NOT_CLOUD_EVENT,
    Unmappable: Reason.MAPPING,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that cannot be used and becomes a dead letter.

    Attributes:
        position: The record's position.
        record_time_ms: The record's Kafka timestamp, Unix milliseconds.
        reason: The reason, for a metric.
        detail: The reason in a sentence of at most 500 characters.
        user_id: The user. Empty if the user is not certain.
    """

    position: Position
    record_time_ms: int
    reason: Reason
    detail: str
    user_id: str = ""


class Notices(Protocol):
    """Is told what is odd about interactions that are taken nevertheless."""

    def unknown_fields(self, names: Sequence[str]) -> None:
        """Takes the names of one interaction's unknown fields."""

    def unknown_action(self, action: str) -> None:
        """Takes an action of a record that the settings do not have, once. Such interactions count nothing."""

    def clock_ahead(self) -> None:
        """Is called for an interaction whose time was too far ahead, and was replaced by its record's."""


def parse(
    value: bytes | None,
    key: bytes | None,
    headers: Sequence[tuple[str, bytes]],
    position: Position,
    record_time_ms: int,
    settings: ProfileSettings,
    notices: Notices | None = None,
    mappings: Sequence[EventMapping] = (),
) -> Record | Refusal:
    """Parses a record. It raises no exception, whatever the record contains.

    The value is a `recstream.v1.Interaction` in one of the forms of `profiles.wire`. With the header
    `recstream-kind: erasure` it is a `recstream.storage.v1.Erasure`. Unknown fields are passed over. So is an
    interaction of a kind that only a later release knows, or of an action that the settings do not have. The key only
    selects the partition and may have any value. The user is in the record's value.

    Args:
        value: The record's value.
        key: The record's key.
        headers: The record's headers.
        position: The record's position.
        record_time_ms: The record's Kafka timestamp, Unix milliseconds.
        settings: The actions and the limits.
        notices: Is told about unknown fields and actions, and about wrong clocks.
        mappings: The mappings of other producers' records.

    Returns:
        A record for the fold, or why it cannot be used. A `Skip` for LATER_KIND and UNKNOWN_ACTION.
    """
    del key  # It is part of a record, but is not used.

    def refusal(reason: Reason, detail: str, user_id: str = "") -> Refusal:
        return Refusal(position, record_time_ms, reason, _cut(detail), user_id)

    if value is None:
        return refusal(Reason.NO_VALUE, "the record has no value; an erasure is a record with a value")
    if not 0 <= record_time_ms <= LATEST_MS:
        return refusal(Reason.NO_TIMESTAMP, f"the record has no timestamp that is a time: {record_time_ms}")
    kind = next((content for name, content in headers if name == KIND_HEADER), None)
    if kind == KIND_ERASURE:
        return _erasure(value, position, record_time_ms)
    if kind is not None:
        return refusal(
            Reason.KIND_HEADER, f"the header {KIND_HEADER} is {kind[:40]!r}; only {KIND_ERASURE!r} is known"
        )

    try:
        decoded = decode(value, headers, mappings)
    except Undecodable as cause:
        return refusal(_UNDECODABLE[type(cause)], str(cause))
    if decoded.unknown and notices is not None:
        notices.unknown_fields(decoded.unknown)
    events: list[Event | SlateImpression] = []
    unknown_actions: dict[str, None] = {}
    user_id = decoded.interactions[0].user_id
    for number, interaction in enumerate(decoded.interactions):
        if interaction.user_id != user_id:
            detail = f"user_id is {shown(interaction.user_id)}, but {shown(user_id)} before"
            detail = f"{_place(decoded, number)}{detail}; a record is of one user"
            return refusal(Reason.MAPPING, detail)
        unknown_action = _unknown_action(interaction, settings)
        if (decoded.later_kind or unknown_action) and not check_user_id(user_id, settings):
            unknown_actions[unknown_action] = None
            continue
        if problems := _problems(interaction, decoded, number, position, record_time_ms, settings):
            fields = {field for field, _ in problems}
            reason = _REASONS.get(problems[0][0].partition(".")[0], Reason.CONTEXT)
            known = "" if "user_id" in fields else user_id
            return refusal(reason, _detail(problems, decoded, number), known)
        time = event_time(interaction, record_time_ms, settings)
        if time.clock_ahead and notices is not None:
            notices.clock_ahead()
        events.append(_event(interaction, position, record_time_ms, time.time_ms))
    if notices is not None:
        for action in filter(None, unknown_actions):
            notices.unknown_action(action)
    if not events:
        return Skip(user_id, position, record_time_ms, LATER_KIND if decoded.later_kind else UNKNOWN_ACTION)
    return events[0] if len(events) == 1 else Events(user_id, position, record_time_ms, tuple(events))


def _unknown_action(interaction: contract.Interaction, settings: ProfileSettings) -> str:
    """The action, if the settings do not have it. Empty otherwise. `undo` and `impression` are mistakes."""
    action = interaction.action
    if (
        action in settings.actions
        or action in (UNDO, IMPRESSION)
        or interaction.WhichOneof("kind") is not None
    ):
        return ""
    return action


def _problems(
    interaction: contract.Interaction,
    decoded: Decoded,
    number: int,
    position: Position,
    record_time_ms: int,
    settings: ProfileSettings,
) -> list[Problem]:
    """Validates an interaction, and gives one that a mapping made its own id."""
    problems = check(interaction, record_time_ms, settings)
    if decoded.mapping is not None and not problems:
        event_id = decoded.mapping.event_id(interaction.event_id or position.event_id, number)
        if len(event_id.encode()) > EVENT_ID_BYTES:
            return [("event_id", f"with its number is longer than {EVENT_ID_BYTES} bytes: {shown(event_id)}")]
        interaction.event_id = event_id
    return problems


def _detail(problems: Sequence[Problem], decoded: Decoded, number: int) -> str:
    mapping = decoded.mapping
    origins = [mapping.origin(field) if mapping is not None else "" for field, _ in problems]
    detail = "; ".join(
        f"{field} {problem}" + (f" (from {origin})" if origin else "")
        for (field, problem), origin in zip(problems, origins, strict=True)
    )
    if decoded.unknown:
        detail += f"; unknown fields: {', '.join(decoded.unknown)}"
    return _place(decoded, number) + detail


def _place(decoded: Decoded, number: int) -> str:
    return f"{decoded.mapping.place(number)}: " if decoded.mapping is not None else ""


def _event(
    interaction: contract.Interaction, position: Position, record_time_ms: int, time_ms: int
) -> Event | SlateImpression:
    event_id = interaction.event_id or position.event_id
    kind = interaction.WhichOneof("kind")
    if kind == "impression":
        item_ids = tuple(interaction.impression.item_ids)
        return SlateImpression(interaction.user_id, position, record_time_ms, event_id, item_ids, time_ms)
    return Event(
        user_id=interaction.user_id,
        position=position,
        record_time_ms=record_time_ms,
        event_id=event_id,
        item_id=interaction.item_id,
        action=UNDO if kind == "undo" else interaction.action,
        time_ms=time_ms,
        value=interaction.value if interaction.HasField("value") else None,
        undo_event_id=interaction.undo.event_id,
    )


def _erasure(value: bytes, position: Position, record_time_ms: int) -> Erasure | Refusal:
    try:
        message = storage.Erasure.FromString(value)
    except DecodeError as cause:
        detail = f"not an Erasure in protobuf: {cause}"
        return Refusal(position, record_time_ms, Reason.ERASURE, _cut(detail))
    note_in("Erasure", message)
    if problem := _erasure_problem(message):
        return Refusal(position, record_time_ms, Reason.ERASURE, _cut(problem))
    ends = tuple(Position(end.topic_id, end.partition, end.offset) for end in message.end_offsets)
    return Erasure(message.user_id, position, record_time_ms, ends)


def _erasure_problem(message: storage.Erasure) -> str | None:
    # A user id that is forbidden now may have been allowed before, and must be erasable.
    if problems := check_id("user_id", message.user_id):
        return " ".join(problems[0])
    if len(message.end_offsets) > _PARTITIONS:
        return f"end_offsets has {len(message.end_offsets)} entries; the limit is {_PARTITIONS}"
    for end in message.end_offsets:
        if len(end.topic_id) != _TOPIC_ID_BYTES or end.partition < 0 or end.offset < 0:
            topic = end.topic_id[:40].hex()
            return (
                f"end_offsets has the invalid topic {topic}, partition {end.partition}, offset {end.offset}"
            )
    return None


def _cut(detail: str) -> str:
    return detail if len(detail) <= _DETAIL else f"{detail[: _DETAIL - 1]}…"
