"""The worker that counts interactions: it sets up the consumer loop, and watches the topic."""

import asyncio
from functools import partial

from ingest.consuming.groups import statistics_group
from ingest.consuming.loop import ConsumerLoop, Subscription
from ingest.consuming.offsets import check_range
from ingest.consuming.race import race
from ingest.consuming.topic_check import check_topics_usable, topic_id_of, watch_topic
from ingest.settings import IngestSettings
from ingest.statistics.handler import StatisticsHandler
from profiles.actions import ProfileSettings
from telemetry.health import Health
from topics.settings import KafkaSettings

COMPONENT = "statistics"


class StatisticsWorker:
    """Counts interactions into item statistics, as one member of the group."""

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
        """Runs until `stop` is set. Raises Halted, KafkaError, KafkaUnreachable. A new run continues from there."""
        topics = self._kafka.topics
        await check_topics_usable(
            self._kafka, self._profile_settings.time_to_live_days, [topics.interactions, topics.item_stats]
        )
        topic_id = await topic_id_of(self._kafka, topics.interactions)
        await check_range(self._kafka, statistics_group(self._kafka), topics.interactions)
        group = statistics_group(self._kafka)
        handler = StatisticsHandler(
            kafka=self._kafka,
            group=group,
            profile_settings=self._profile_settings,
            settings=self._settings,
            topic_id=topic_id,
            on_started=partial(self._health.up, COMPONENT),
        )
        subscription = Subscription(
            group=group,
            topics=(topics.interactions,),
            start="none",
            max_records=self._settings.statistics_batch,
            pause_seconds=self._settings.statistics_interval_ms / 1000,
        )
        await race(
            ConsumerLoop(self._kafka, subscription, handler, self._settings).run(stop),
            watch_topic(
                self._kafka,
                topics.interactions,
                topic_id,
                self._settings.topic_check_seconds,
                self._health,
            ),
        )
