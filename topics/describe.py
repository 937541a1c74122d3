"""Descriptions of topics, from Kafka."""

from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicCollection, Uuid
from confluent_kafka.admin import AdminClient

from topics.admin import with_admin
from topics.errors import TopicMissing
from topics.settings import KafkaSettings

MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})


class Description(Protocol):
    """The attributes of confluent_kafka's topic description that are used."""

    topic_id: Uuid
    partitions: list[Any]


def existing(admin: AdminClient, names: Sequence[str], seconds: float) -> dict[str, Description]:
    """Describes the topics that exist, by name. Raises KafkaException, or TimeoutError after `seconds`."""
    found: dict[str, Description] = {}
    answers = admin.describe_topics(TopicCollection(list(names)), request_timeout=seconds)
    for name, answer in answers.items():
        try:
            found[name] = answer.result(timeout=seconds + 1)
        except KafkaException as error:
            if error.args[0].code() not in MISSING:
                raise
    return found


def require(admin: AdminClient, names: Sequence[str], seconds: float) -> dict[str, Description]:
    """Describes topics, by name. Raises TopicMissing, which names every missing topic; KafkaException; or TimeoutError
    after `seconds`."""
    found = existing(admin, names, seconds)
    if missing := [name for name in names if name not in found]:
        raise TopicMissing(missing)
    return found


async def describe(
    settings: KafkaSettings, names: Sequence[str], timeout: float | None
) -> dict[str, Description]:
    """Describes topics, by name. Raises TopicMissing, which names every missing topic, and KafkaUnreachable."""
    if not names:
        return {}
    return await with_admin(settings, lambda admin, seconds: require(admin, names, seconds), timeout)
