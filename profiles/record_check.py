"""Says what ingest would make of records, without applying them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from profiles.actions import ProfileSettings
from profiles.folding.events import Erasure, Event, Position
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
        actions: Accepted interactions by action.
        erasures: Accepted orders to erase a user.
        refused: Refused records by reason.
        examples: The first three refused records of each reason.
        unknown_fields: Interactions that have a field which the contract has not, by its name. At most 1,000 names.
    """

    settings: ProfileSettings
    records: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    erasures: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    unknown_fields: Counter[str] = field(default_factory=Counter)

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
        found = parse(value, None, headers, position, record_time_ms, self.settings, self._unknown)
        if isinstance(found, Refusal):
            self.refused[found.reason] += 1
            examples = self.examples.setdefault(found.reason, [])
            if len(examples) < _EXAMPLES:
                examples.append(Example(place, found.detail, _excerpt(value)))
        elif isinstance(found, Event):
            self.actions[found.action] += 1
        elif isinstance(found, Erasure):
            self.erasures += 1

    def _unknown(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self.unknown_fields or len(self.unknown_fields) < _UNKNOWN_NAMES:
                self.unknown_fields[name] += 1


def _excerpt(value: bytes | None) -> str:
    if value is None:
        return "null"
    text = value[:_EXCERPT].decode(errors="backslashreplace")
    return f"{text}…" if len(value) > _EXCERPT else text
