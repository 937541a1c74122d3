"""The consumer groups and transactional ids of one installation."""

from topics.settings import KafkaSettings


def interactions_group(kafka: KafkaSettings) -> str:
    """The group that turns interactions into profiles."""
    return f"{kafka.topic_prefix}recstream-interactions"


def statistics_group(kafka: KafkaSettings) -> str:
    """The group that turns interactions into item statistics."""
    return f"{kafka.topic_prefix}recstream-statistics"


def statistics_transactions(kafka: KafkaSettings, partition: int) -> str:
    """The transactional id of the owner of this partition of interactions. A producer that starts with it fences off
    the previous owner."""
    return f"{kafka.topic_prefix}recstream-statistics-{partition}"


def items_transactions(kafka: KafkaSettings, partition: int) -> str:
    """The transactional id of the owner of this partition of item changes."""
    return f"{kafka.topic_prefix}recstream-items-{partition}"


def quality_group(kafka: KafkaSettings) -> str:
    """The group that measures online quality. It commits nothing."""
    return f"{kafka.topic_prefix}recstream-quality"


def catalogue_group(kafka: KafkaSettings, model_version: int, published_at_ms: int, topic_id: bytes) -> str:
    """The group that embeds items. Each publication of a version and each recreation of the topic of items has its own
    group, which reads from the start."""
    return f"{kafka.topic_prefix}recstream-catalogue-{model_version}-{published_at_ms}-{topic_id.hex()[:16]}"
