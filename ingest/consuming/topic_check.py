"""Checks that topics exist, keep their records, and are not recreated."""

import asyncio
from collections.abc import Collection

from ingest.errors import TopicRecreated, TopicsMisconfigured, TopicsMissing
from telemetry.health import Health
from topics.check import check_topics
from topics.errors import KafkaUnreachable, TopicMissing
from topics.ids import topic_ids
from topics.settings import KafkaSettings


async def check_topics_usable(kafka: KafkaSettings, time_to_live_days: float, names: Collection[str]) -> None:
    """Checks that topics exist, and that their retention and cleanup delete no record that is needed.

    Args:
        kafka: The cluster and the topics' prefix.
        time_to_live_days: How long records of `interactions` are needed.
        names: The topics to look at.

    Raises:
        TopicsMissing: Some of the topics do not exist.
        TopicsMisconfigured: Some of them would lose records.
        KafkaUnreachable: No broker answers.
    """
    problems = [p for p in await check_topics(kafka, time_to_live_days) if p.topic in names]
    if missing := [p for p in problems if p.missing]:
        raise TopicsMissing("; ".join(map(str, missing)))
    if problems:
        raise TopicsMisconfigured("; ".join(map(str, problems)))


async def topic_id_of(kafka: KafkaSettings, name: str) -> bytes:
    """Returns the id of a topic, 16 bytes. Raises TopicsMissing, KafkaUnreachable."""
    try:
        return (await topic_ids(kafka, [name]))[name]
    except TopicMissing as error:
        raise TopicsMissing(str(error)) from error


async def watch_topic(
    kafka: KafkaSettings, name: str, topic_id: bytes, seconds: float, health: Health
) -> None:
    """Checks every `seconds`, until it is cancelled, that Kafka answers and that the topic is still the same one.

    Records of a recreated topic that are read before the next check are taken for records of the old topic.

    Raises:
        TopicRecreated: The topic has another id.
        TopicsMissing: The topic is gone.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            found = await topic_id_of(kafka, name)
            health.up("kafka")
        except KafkaUnreachable as error:
            health.down("kafka", str(error))
            continue
        if found != topic_id:
            raise TopicRecreated(name, topic_id, found)
