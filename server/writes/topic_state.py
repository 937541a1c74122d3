"""The present ids of topics, and the end offsets of their partitions."""

from dataclasses import dataclass

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from topics.admin import with_admin
from topics.describe import require
from topics.ids import to_bytes
from topics.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class TopicState:
    """The state of a topic.

    Attributes:
        topic_id: Its id, 16 bytes.
        ends: The end offset of each partition. The next record gets this offset or a higher one.
    """

    topic_id: bytes
    ends: dict[int, int]


async def topic_states(settings: KafkaSettings, names: list[str], *, timeout: float) -> dict[str, TopicState]:
    """Return the state of topics, by name.

    The ends are read before the ids. If a topic is recreated in between, the offsets of its new records are below the
    ends that were read, which reveals the mistake.

    Args:
        settings: The connection to Kafka.
        names: The names of the topics.
        timeout: Seconds for each of three requests.

    Raises:
        TopicMissing: A topic does not exist.
        KafkaUnreachable: Kafka does not answer.
    """

    def work(admin: AdminClient, seconds: float) -> dict[str, TopicState]:
        parts = {name: range(len(found.partitions)) for name, found in require(admin, names, seconds).items()}
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(name, p): latest for name, ps in parts.items() for p in ps}
        ends: dict[str, dict[int, int]] = {name: {} for name in names}
        for partition, answer in admin.list_offsets(asked, request_timeout=seconds).items():
            ends[partition.topic][partition.partition] = answer.result(timeout=seconds + 1).offset
        ids = {name: to_bytes(found.topic_id) for name, found in require(admin, names, seconds).items()}
        return {name: TopicState(ids[name], ends[name]) for name in names}

    return await with_admin(settings, work, timeout)
