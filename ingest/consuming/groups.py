"""The consumer groups and transactional ids of one installation."""

from topics.settings import KafkaSettings


def interactions_group(kafka: KafkaSettings) -> str:
    """Who turns interactions into profiles."""
    return f"{kafka.topic_prefix}recstream-interactions"


def statistics_group(kafka: KafkaSettings) -> str:
    """Who turns interactions into item statistics."""
    return f"{kafka.topic_prefix}recstream-statistics"


def statistics_transactions(kafka: KafkaSettings, partition: int) -> str:
    """The transactional id of whoever counts this partition of interactions: starting with it ends the
    transactions of the owner before."""
    return f"{kafka.topic_prefix}recstream-statistics-{partition}"


def quality_group(kafka: KafkaSettings) -> str:
    """Who measures what users make of lists. It commits nothing."""
    return f"{kafka.topic_prefix}recstream-quality"


def catalogue_group(kafka: KafkaSettings, model_version: int, published_at_ms: int, topic_id: bytes) -> str:
    """Who embeds items. A version that is published, for the first time or again, and an items topic made anew, are
    read from the start by a new group."""
    return f"{kafka.topic_prefix}recstream-catalogue-{model_version}-{published_at_ms}-{topic_id.hex()[:16]}"
