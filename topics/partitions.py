"""Partition counts, read with the admin client. If a consumer asked for a missing topic, Kafka might create it."""

from collections.abc import Sequence

from topics.describe import describe
from topics.settings import KafkaSettings


async def partition_counts(
    settings: KafkaSettings, names: Sequence[str], *, timeout: float | None = None
) -> dict[str, int]:
    """Reads the number of partitions of topics.

    Args:
        settings: The cluster.
        names: The names of the topics.
        timeout: Seconds. None: the request timeout of the settings.

    Returns:
        The number of partitions, by name.

    Raises:
        TopicMissing: Topics do not exist. The error names all of them.
        KafkaUnreachable: No broker answers.
    """
    found = await describe(settings, names, timeout)
    return {name: len(description.partitions) for name, description in found.items()}
