"""Says what ingest would make of records, without applying them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from profiles.actions import IMPRESSION, ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Skip, SlateImpression
from profiles.interactions import Refusal, parse

_NO_TOPIC = bytes(16)
_EXAMPLES = 3
_EXCERPT = 120
_UNKNOWN_NAMES = 1000


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


@dataclass(slots=True)
class RecordCheck:
    """Counts of checked records.

    Attributes:
        settings: The actions and the limits that ingest has.
        records: How many records were checked.
        actions: Accepted interactions by action, and impressions and undo events.
        passed_over: Interactions of a kind that only a later release knows.
        clocks_ahead: Accepted interactions whose time was too far ahead, and was replaced by their record's.
        erasures: Accepted orders to erase a user.
        refused: Refused records by reason.
        examples: The first three refused records of each reason.
        unknown: Interactions that have a field which the contract has not, by its name. At most 1,000 names.
    """

    settings: ProfileSettings
    records: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    passed_over: int = 0
    clocks_ahead: int = 0
    erasures: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

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
        found = parse(value, None, headers, position, record_time_ms, self.settings, self)
        if isinstance(found, Refusal):
            self.refused[found.reason] += 1
            examples = self.examples.setdefault(found.reason, [])
            if len(examples) < _EXAMPLES:
                examples.append(Example(place, found.detail, _excerpt(value)))
        elif isinstance(found, Event):
            self.actions[found.action] += 1
        elif isinstance(found, SlateImpression):
            self.actions[IMPRESSION] += 1
        elif isinstance(found, Skip):
            self.passed_over += 1
        elif isinstance(found, Erasure):
            self.erasures += 1

    def clock_ahead(self) -> None:
        """Counts an interaction whose time was too far ahead."""
        self.clocks_ahead += 1

    def unknown_fields(self, names: Sequence[str]) -> None:
        """Counts the names of one interaction's unknown fields."""
        for name in names:
            if name in self.unknown or len(self.unknown) < _UNKNOWN_NAMES:
                self.unknown[name] += 1


def _excerpt(value: bytes | None) -> str:
    if value is None:
        return "null"
    text = value[:_EXCERPT].decode(errors="backslashreplace")
    return f"{text}…" if len(value) > _EXCERPT else text
