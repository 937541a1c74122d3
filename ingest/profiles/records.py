"""Checks polled records of `interactions`: valid ones go to the fold, the others become dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition

from ingest.consuming.dead_letters import DeadLetter
from ingest.profiles.traced import Traced, traced
from profiles.actions import ProfileSettings
from profiles.folding.events import Position, Record, Skip
from profiles.interactions import LATER_KIND, Notices, Refusal, parse
from profiles.mappings import EventMapping
from telemetry.tracing import spans


@dataclass(frozen=True, slots=True)
class CheckedRecords:
    """A batch's records after the check.

    Attributes:
        records: By user, in log order within each partition.
        letters: The records that cannot be used.
        later_kinds: How many of them are of a kind that only a later release knows. They move watermarks only.
        oldest_ms: The oldest Kafka timestamp, Unix milliseconds.
        traced: The first traced records, at most 16.
    """

    records: dict[str, list[Record]]
    letters: tuple[DeadLetter, ...]
    later_kinds: int
    oldest_ms: int
    traced: tuple[Traced, ...] = ()


def read_record(
    raw: ConsumerRecord,
    topic_id: bytes,
    settings: ProfileSettings,
    mappings: Sequence[EventMapping],
    notices: Notices | None = None,
) -> tuple[Record | None, DeadLetter | None]:
    """Parses one record. `mappings` and `notices` are as in `parse`.

    Returns:
        The parsed record, its dead letter, or both. A rejected record whose user is certain still moves that user's
        watermark, so that a reader that waits for the record stops waiting.
    """
    position = Position(topic_id, raw.partition, raw.offset)
    read = parse(raw.value, raw.key, raw.headers, position, raw.timestamp, settings, notices, mappings)
    if not isinstance(read, Refusal):
        return read, None
    letter = DeadLetter(raw, topic_id, read.reason.value, read.detail)
    if not read.user_id:
        return None, letter
    return Skip(read.user_id, position, raw.timestamp, read.reason.value), letter


def read_batch(
    polled: Mapping[TopicPartition, Sequence[ConsumerRecord]],
    topic_id: bytes,
    settings: ProfileSettings,
    mappings: Sequence[EventMapping],
    notices: Notices | None = None,
) -> CheckedRecords:
    """Checks polled records and groups them by user. It never raises, whatever a record holds. `mappings` and `notices`
    are as in `parse`."""
    records: dict[str, list[Record]] = {}
    letters: list[DeadLetter] = []
    followed: list[Traced] = []
    tracing = spans.on()
    oldest = 2**62
    later_kinds = 0
    for part in polled.values():
        for raw in part:
            oldest = min(oldest, raw.timestamp)
            record, letter = read_record(raw, topic_id, settings, mappings, notices)
            if record is not None:
                records.setdefault(record.user_id, []).append(record)
                later_kinds += isinstance(record, Skip) and record.reason == LATER_KIND
            if letter is not None:
                letters.append(letter)
            if tracing and len(followed) < spans.MOST and (one := traced(raw, record, letter)) is not None:
                followed.append(one)
    return CheckedRecords(records, tuple(letters), later_kinds, oldest, tuple(followed))
