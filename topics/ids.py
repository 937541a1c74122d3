"""Topic ids (KIP-516): a topic that was deleted and made anew has another."""

from collections.abc import Sequence

from confluent_kafka import Uuid

from topics.describe import describe
from topics.settings import KafkaSettings

_WORD = 1 << 64


async def topic_ids(
    settings: KafkaSettings, names: Sequence[str], *, timeout: float | None = None
) -> dict[str, bytes]:
    """The 16-byte ids, big-endian, of the named topics.

    `timeout` is in seconds; None: the request timeout of the settings. Raises TopicMissing, naming every
    absent topic, and KafkaUnreachable.
    """
    found = await describe(settings, names, timeout)
    return {name: to_bytes(description.topic_id) for name, description in found.items()}


def to_bytes(topic_id: Uuid) -> bytes:
    """The 16 bytes of a topic id, big-endian, as the protocol writes it."""
    # The stub names the accessors without their `get_`, the class has them with it.
    high: int = topic_id.get_most_significant_bits()  # type: ignore[attr-defined]
    low: int = topic_id.get_least_significant_bits()  # type: ignore[attr-defined]
    return (high % _WORD).to_bytes(8, "big") + (low % _WORD).to_bytes(8, "big")
