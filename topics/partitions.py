"""How many partitions topics have, asked without making them: Kafka creates a topic on a consumer's question
where its settings allow it."""

from collections.abc import Sequence

from topics.describe import describe
from topics.settings import KafkaSettings


async def partition_counts(
    settings: KafkaSettings, names: Sequence[str], *, timeout: float | None = None
) -> dict[str, int]:
    """Partitions by topic. `timeout` is in seconds; None: the request timeout of the settings. Raises
    TopicMissing, naming every absent topic, and KafkaUnreachable."""
    found = await describe(settings, names, timeout)
    return {name: len(description.partitions) for name, description in found.items()}
