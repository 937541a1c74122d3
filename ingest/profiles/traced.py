"""The traced events of a batch, by the `traceparent` header of their records."""

import time
from dataclasses import dataclass

from aiokafka import ConsumerRecord

from ingest.consuming.dead_letters import DeadLetter
from profiles.folding.events import Record
from telemetry.tracing.spans import Followed, Origin, root
from telemetry.tracing.w3c import TRACEPARENT, parse


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced record. `user_id` is empty if it is not certain."""

    user_id: str
    origin: Origin


def traced(raw: ConsumerRecord, record: Record | None, letter: DeadLetter | None) -> Traced | None:
    """Returns the record's trace. None if it is not sampled, or if its header cannot be parsed.

    The producer's span is the parent and not a link, so that one trace shows the event's whole path. The time between
    both spans is the time in Kafka, `recstream.record_age_ms`, if the producer's clock agrees with ours.
    """
    header = next((value for name, value in raw.headers if name == TRACEPARENT), None)
    parent = parse(header) if header is not None else root()
    if (parent is None) == (header is not None) or (parent is not None and not parent.trace_flags.sampled):
        return None
    now_ns = time.time_ns()
    attributes: dict[str, str | int | float | bool] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": raw.topic,
        "messaging.destination.partition.id": str(raw.partition),
        "messaging.kafka.offset": raw.offset,
        "recstream.record_age_ms": max(0, now_ns // 1_000_000 - raw.timestamp),
    }
    if letter is not None:
        attributes["recstream.refused"] = letter.reason
    return Traced(record.user_id if record is not None else "", Origin(parent, now_ns, attributes))


def by_user(batch: tuple[Traced, ...], followed: Followed) -> dict[str, str]:
    """Returns the `traceparent` for each user's announcement, which is that of the user's newest traced event."""
    return {one.user_id: each for one, each in zip(batch, followed.traceparents, strict=False) if each}
