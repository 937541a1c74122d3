"""The statistics worker with what it needs around it."""

import asyncio

from ingest.consuming.groups import statistics_group
from ingest.consuming.offsets import check_range
from ingest.consuming.race import race
from ingest.consuming.topic_check import check_topics_usable, topic_id_of, watch_topic
from ingest.settings import IngestSettings
from ingest.statistics.statistics import Statistics
from profiles.actions import ProfileSettings
from telemetry.health import Health
from topics.settings import KafkaSettings

COMPONENT = "statistics"


class StatisticsWorker:
    """Turns interactions into item statistics, as one member of the group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
        health: Health,
    ) -> None:
        self._kafka = kafka
        self._profile_settings = profile_settings
        self._settings = settings
        self._health = health

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises Halted, KafkaError, KafkaUnreachable; a new run goes on from there."""
        topics = self._kafka.topics
        await check_topics_usable(
            self._kafka, self._profile_settings.time_to_live_days, [topics.interactions, topics.item_stats]
        )
        topic_id = await topic_id_of(self._kafka, topics.interactions)
        await check_range(self._kafka, statistics_group(self._kafka), topics.interactions)
        worker = Statistics(self._kafka, self._profile_settings, self._settings, topic_id)
        self._health.up(COMPONENT)
        await race(
            worker.run(stop),
            watch_topic(
                self._kafka,
                topics.interactions,
                topic_id,
                self._settings.topic_check_seconds,
                self._health,
            ),
        )
