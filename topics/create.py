"""Creates the topics."""

import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from topics.admin import with_admin
from topics.check import TopicProblem, check_topics
from topics.describe import existing
from topics.errors import TopicNotCreated
from topics.layout import layouts
from topics.settings import KafkaSettings

__all__ = ["TopicProblem", "check_topics", "create_topics"]

_LOOK_SECONDS = 0.05
_REFUSALS = frozenset(
    {
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REPLICA_ASSIGNMENT,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


async def create_topics(
    settings: KafkaSettings, time_to_live_days: float, *, timeout: float | None = None
) -> list[str]:
    """Creates the missing topics. Existing topics are not changed; `check_topics` reports their problems.

    Args:
        settings: The cluster.
        time_to_live_days: How long profiles live.
        timeout: Seconds. None: the request timeout of the settings.

    Returns:
        The names of the created topics.

    Raises:
        TopicNotCreated: Kafka refuses to create a topic.
        KafkaUnreachable: No broker answers.
    """

    def work(admin: AdminClient, seconds: float) -> list[str]:
        wanted = [
            NewTopic(
                layout.name,
                num_partitions=layout.partitions,
                replication_factor=layout.replication,
                config=dict(layout.config),
            )
            for layout in layouts(settings, time_to_live_days)
        ]
        created = []
        answers = admin.create_topics(wanted, operation_timeout=seconds, request_timeout=seconds)
        for name, answer in answers.items():
            try:
                answer.result(timeout=seconds + 1)
                created.append(name)
            except KafkaException as error:
                code = error.args[0].code()
                if code in _REFUSALS:
                    raise TopicNotCreated(name, error.args[0].str()) from error
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        _wait_until_visible(admin, [topic.topic for topic in wanted], seconds)
        return created

    return await with_admin(settings, work, timeout)


def _wait_until_visible(admin: AdminClient, names: Sequence[str], seconds: float) -> None:
    """Waits until the topics can be described. The controller answers before every broker knows them."""
    deadline = time.monotonic() + seconds
    while len(existing(admin, names, seconds)) < len(names):
        if time.monotonic() > deadline:
            raise TimeoutError("created topics are not visible")
        time.sleep(_LOOK_SECONDS)
