"""Topic ids (KIP-516). A recreated topic has a new id."""

from collections.abc import Sequence

from confluent_kafka import Uuid

from topics.describe import describe
from topics.settings import KafkaSettings

_WORD = 1 << 64


async def topic_ids(
    settings: KafkaSettings, names: Sequence[str], *, timeout: float | None = None
) -> dict[str, bytes]:
    """Reads the ids of topics.

    Args:
        settings: The cluster.
        names: The names of the topics.
        timeout: Seconds. None: the request timeout of the settings.

    Returns:
        The ids by name, 16 bytes each, big-endian.

    Raises:
        TopicMissing: Topics do not exist. The error names all of them.
        KafkaUnreachable: No broker answers.
    """
    found = await describe(settings, names, timeout)
    return {name: to_bytes(description.topic_id) for name, description in found.items()}


def to_bytes(topic_id: Uuid) -> bytes:
    """The 16 bytes of a topic id, big-endian, as in Kafka's protocol."""
    # The type stub has other names for these accessors, without `get_`.
    high: int = topic_id.get_most_significant_bits()  # type: ignore[attr-defined]
    low: int = topic_id.get_least_significant_bits()  # type: ignore[attr-defined]
    return (high % _WORD).to_bytes(8, "big") + (low % _WORD).to_bytes(8, "big")
