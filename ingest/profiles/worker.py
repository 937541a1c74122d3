"""The worker that applies interactions to profiles: it sets up the consumer loop, and watches store and topic."""

import asyncio
import time

from ingest.consuming.dead_letters import DeadLetters
from ingest.consuming.groups import interactions_group
from ingest.consuming.loop import ConsumerLoop, Subscription
from ingest.consuming.race import race
from ingest.consuming.topic_check import check_topics_usable, watch_topic
from ingest.profiles.apply import Apply
from ingest.profiles.handler import InteractionsHandler
from ingest.profiles.states import ModelStates
from ingest.profiles.sweeper import Sweeper
from ingest.profiles.topic_identity import check_identity
from ingest.settings import IngestSettings
from profiles.actions import ProfileSettings
from profiles.errors import StoreUnavailable
from profiles.store.store import ProfileStore
from telemetry.health import Health
from topics.closing import close_client
from topics.producer import start_producer
from topics.settings import KafkaSettings

_CHECK_SECONDS = 2.0


class InteractionsWorker:
    """Applies interactions to profiles, as one member of the group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        store: ProfileStore,
        states: ModelStates,
        sweeper: Sweeper,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
        health: Health,
    ) -> None:
        self._kafka = kafka
        self._store = store
        self._states = states
        self._sweeper = sweeper
        self._profile_settings = profile_settings
        self._settings = settings
        self._health = health

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then finishes and commits the current batch. After an error a new run continues
        where this one ended.

        Raises:
            Halted: An operator has to act, as after TopicRecreated and OffsetOutOfRange.
            StoreChanged: Part of the topic has to be read again.
            KafkaError, KafkaUnreachable, StoreUnavailable: A server fails.
        """
        topics = self._kafka.topics
        await check_topics_usable(
            self._kafka, self._profile_settings.time_to_live_days, [topics.interactions]
        )
        topic_id = await check_identity(self._kafka, self._store)
        identity = await self._store.identity()
        group = interactions_group(self._kafka)
        producer = await start_producer(self._kafka)
        try:
            handler = InteractionsHandler(
                kafka=self._kafka,
                group=group,
                apply=Apply(self._store, self._states, self._sweeper, self._profile_settings, self._settings),
                dead_letters=DeadLetters(
                    producer,
                    topics.interactions_dead_letter,
                    "interactions",
                    self._settings.dead_letters_in_a_row,
                    time.monotonic,
                ),
                health=self._health,
                topic_id=topic_id,
                store_identity=identity,
                profile_settings=self._profile_settings,
                settings=self._settings,
            )
            subscription = Subscription(
                group=group,
                topics=(topics.interactions,),
                start="none",
                max_records=self._settings.batch_records,
            )
            loop = ConsumerLoop(self._kafka, subscription, handler, self._settings)
            await race(
                loop.run(stop),
                self._watch_store(handler),
                watch_topic(
                    self._kafka,
                    topics.interactions,
                    topic_id,
                    self._settings.topic_check_seconds,
                    self._health,
                ),
            )
        finally:
            await close_client(producer)

    async def _watch_store(self, handler: InteractionsHandler) -> None:
        """Watches the store while no events come. A restart ends the loop. A store that refuses writes makes this
        process unready."""
        while True:
            try:
                handler.store_is(await self._store.identity())
                await self._store.check_writes(_CHECK_SECONDS)
                self._health.up("store")
            except StoreUnavailable as error:
                self._health.down("store", str(error))
            await asyncio.sleep(self._settings.store_check_ms / 1000)
