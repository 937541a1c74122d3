"""Partition counts, without creating topics: if its settings allow that, Kafka creates a topic that a consumer asks
for."""

from collections.abc import Sequence

from topics.describe import describe
from topics.settings import KafkaSettings


async def partition_counts(
    settings: KafkaSettings, names: Sequence[str], *, timeout: float | None = None
) -> dict[str, int]:
    """The number of partitions by topic. `timeout` is in seconds; None: the request timeout of the settings. Raises
    TopicMissing, which names every missing topic, and KafkaUnreachable."""
    found = await describe(settings, names, timeout)
    return {name: len(description.partitions) for name, description in found.items()}
