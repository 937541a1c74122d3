"""The worker that measures online quality: it sets up the consumer loop."""

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from inference.version_routing import VersionRouting
from ingest.consuming.groups import quality_group
from ingest.consuming.loop import ConsumerLoop, Subscription
from ingest.consuming.topic_check import check_topics_usable
from ingest.online_quality.handler import QualityHandler
from ingest.online_quality.online_quality import OnlineQuality
from ingest.settings import IngestSettings
from profiles.actions import Actions, ProfileSettings
from telemetry.health import Health
from topics.settings import KafkaSettings

COMPONENT = "quality"


class QualityWorker:
    """Measures online quality, as one member of a group.

    The range assignor gives partitions with the same number in both topics to the same member. So a user's slates and
    events meet if their producers choose partitions in the same way, as the server does for both. With a single member
    all of them meet.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
        surfaces: Callable[[], Collection[str]],
        routing: Callable[[], VersionRouting],
        health: Health,
    ) -> None:
        self._kafka = kafka
        self._profile_settings = profile_settings
        self._settings = settings
        self._health = health
        self._quality = OnlineQuality(
            Actions(profile_settings.actions), surfaces, routing, settings.quality_slates
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises TopicsMissing, KafkaError, KafkaUnreachable; a new run may begin then."""
        topics = self._kafka.topics
        await check_topics_usable(self._kafka, 0, [topics.slates])
        handler = QualityHandler(
            quality=self._quality,
            slates_topic=topics.slates,
            profile_settings=self._profile_settings,
            mappings=self._settings.mappings,
            on_started=partial(self._health.up, COMPONENT),
        )
        subscription = Subscription(
            group=quality_group(self._kafka),
            topics=(topics.slates, topics.interactions),
            start="latest",
            max_records=self._settings.batch_records,
            assignor=RangePartitionAssignor,
        )
        await ConsumerLoop(self._kafka, subscription, handler, self._settings).run(stop)
