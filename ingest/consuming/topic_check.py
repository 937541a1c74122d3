"""Whether topics are there, keep what is needed, and stay the same."""

import asyncio
from collections.abc import Collection

from ingest.errors import TopicMadeAnew, TopicsNotThere, TopicsUnfit
from telemetry.health import Health
from topics.check import check_topics
from topics.errors import KafkaUnreachable, TopicMissing
from topics.ids import topic_ids
from topics.settings import KafkaSettings


async def check_fit(kafka: KafkaSettings, time_to_live_days: float, names: Collection[str]) -> None:
    """Raises TopicsNotThere and TopicsUnfit where one of these topics is missing or loses records, by its retention
    or its cleanup; KafkaUnreachable."""
    problems = [p for p in await check_topics(kafka, time_to_live_days) if p.topic in names]
    if missing := [p for p in problems if p.missing]:
        raise TopicsNotThere("; ".join(map(str, missing)))
    if problems:
        raise TopicsUnfit("; ".join(map(str, problems)))


async def topic_id_of(kafka: KafkaSettings, name: str) -> bytes:
    """The 16-byte id of a topic. Raises TopicsNotThere, KafkaUnreachable."""
    try:
        return (await topic_ids(kafka, [name]))[name]
    except TopicMissing as error:
        raise TopicsNotThere(str(error)) from error


async def watch_topic(
    kafka: KafkaSettings, name: str, topic_id: bytes, seconds: float, health: Health
) -> None:
    """Looks every so many seconds whether the topic is still the same, and so whether Kafka answers.

    Raises TopicMadeAnew, TopicsNotThere. What is read between the change and the look counts as the old topic's.
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
            raise TopicMadeAnew(name, topic_id, found)
