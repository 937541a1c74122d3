"""Says what ingest would make of records, without applying them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from profiles.actions import IMPRESSION, ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Skip, SlateImpression, events_of
from profiles.interactions import LATER_KIND, Refusal, parse
from profiles.mappings import EventMapping, mapping_for
from profiles.ready_mappings import READY

_NO_TOPIC = bytes(16)
_EXAMPLES = 3
_SHOWN = 20
_EXCERPT = 120
_UNKNOWN_NAMES = 1000
_NAME = 40


@dataclass(frozen=True, slots=True)
class Example:
    """A refused record.

    Attributes:
        place: Where it is, such as `line 7` or `partition 0, offset 7`.
        detail: Why it is refused, and what to do about it.
        value: Its value, shortened. Bytes that are no text are escaped.
    """

    place: str
    detail: str
    value: str


@dataclass(frozen=True, slots=True)
class Became:
    """What a record became.

    Attributes:
        place: Where it is.
        events: Its events. Empty: it counts nothing.
    """

    place: str
    events: tuple[Event | SlateImpression, ...]


@dataclass(slots=True)
class RecordCheck:
    """Counts of checked records.

    Attributes:
        settings: The actions and the limits that ingest has.
        mappings: The mappings of other producers' records.
        records: How many records were checked.
        actions: Accepted interactions by action, and impressions and undo events.
        passed_over: Interactions of a kind that only a later release knows.
        counting_nothing: Records that have only interactions of unknown actions.
        unknown_actions: Records with interactions of an action that the settings do not have, by action. At most 1,000
            names.
        clocks_ahead: Accepted interactions whose time was too far ahead, and was replaced by their record's.
        erasures: Accepted orders to erase a user.
        refused: Refused records by reason.
        examples: The first three refused records of each reason.
        unknown: Interactions that have a field which the contract has not, by its name. At most 1,000 names.
        became: What the first 20 usable records became.
        fitting: Records that are refused or passed over, by the ready-made mapping that would take them.
    """

    settings: ProfileSettings
    mappings: Sequence[EventMapping] = ()
    records: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    passed_over: int = 0
    counting_nothing: int = 0
    unknown_actions: Counter[str] = field(default_factory=Counter)
    clocks_ahead: int = 0
    erasures: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    became: list[Became] = field(default_factory=list)
    fitting: Counter[str] = field(default_factory=Counter)

    def add(
        self, value: bytes | None, headers: Sequence[tuple[str, bytes]], record_time_ms: int, place: str
    ) -> None:
        """Checks a record.

        Args:
            value: The record's value.
            headers: The record's headers.
            record_time_ms: The record's Kafka timestamp, or the present time. Unix milliseconds.
            place: Where it is.
        """
        self.records += 1
        position = Position(_NO_TOPIC, 0, self.records)
        found = parse(value, None, headers, position, record_time_ms, self.settings, self, self.mappings)
        if isinstance(found, Refusal) or (isinstance(found, Skip) and found.reason == LATER_KIND):
            self._look_for_mapping(value)
        if isinstance(found, Refusal):
            self.refused[found.reason] += 1
            examples = self.examples.setdefault(found.reason, [])
            if len(examples) < _EXAMPLES:
                examples.append(Example(place, found.detail, _excerpt(value)))
            return
        self.erasures += isinstance(found, Erasure)
        if isinstance(found, Skip):
            self.passed_over += found.reason == LATER_KIND
            self.counting_nothing += found.reason != LATER_KIND
        events = events_of(found)
        for event in events:
            self.actions[event.action if isinstance(event, Event) else IMPRESSION] += 1
        if len(self.became) < _SHOWN:
            self.became.append(Became(place, events))

    def _look_for_mapping(self, value: bytes | None) -> None:
        try:
            document = json.loads(value or b"")
        except (ValueError, RecursionError):
            return
        known = {mapping.name for mapping in self.mappings}
        if (
            isinstance(document, dict)
            and (mapping := mapping_for(document, _ready()))
            and mapping.name not in known
        ):
            self.fitting[mapping.name] += 1

    def clock_ahead(self) -> None:
        """Counts an interaction whose time was too far ahead."""
        self.clocks_ahead += 1

    def unknown_action(self, action: str) -> None:
        """Counts a record with an action that the settings do not have."""
        _count(self.unknown_actions, action[:_NAME])

    def unknown_fields(self, names: Sequence[str]) -> None:
        """Counts the names of one interaction's unknown fields."""
        for name in names:
            _count(self.unknown, name)


@cache
def _ready() -> tuple[EventMapping, ...]:
    return tuple(EventMapping.model_validate(name) for name in READY)


def _count(counts: Counter[str], name: str) -> None:
    if name in counts or len(counts) < _UNKNOWN_NAMES:
        counts[name] += 1


def _excerpt(value: bytes | None) -> str:
    if value is None:
        return "null"
    text = value[:_EXCERPT].decode(errors="backslashreplace")
    return f"{text}…" if len(value) > _EXCERPT else text
