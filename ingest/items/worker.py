"""The worker that folds changes of items: it sets up the consumer loop, and watches the topics."""

import asyncio
from functools import partial

from ingest.consuming.loop import ConsumerLoop, Subscription
from ingest.consuming.race import race
from ingest.consuming.topic_check import check_topics_usable, topic_id_of, watch_topic
from ingest.errors import IngestError, TopicRecreated, TopicsMisconfigured
from ingest.items.handler import ItemChangesHandler
from ingest.items.item_log import ItemLog
from ingest.settings import IngestSettings
from telemetry.health import Health
from topics.partitions import partition_counts
from topics.settings import KafkaSettings

COMPONENT = "items"


class ItemsWorker:
    """Folds changes of items, as one member of the group."""

    def __init__(self, kafka: KafkaSettings, settings: IngestSettings, health: Health) -> None:
        self._kafka = kafka
        self._settings = settings
        self._health = health
        self._items = ItemLog(kafka)
        self._items_id = b""

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises Halted, IngestError, KafkaError, KafkaUnreachable. A new run continues from
        there."""
        topics = self._kafka.topics
        # Item topics have no time to live.
        await check_topics_usable(self._kafka, 0, [topics.items, topics.item_changes])
        counts = await partition_counts(self._kafka, [topics.items, topics.item_changes])
        if len(set(counts.values())) > 1:
            raise TopicsMisconfigured(
                f"{topics.items} has {counts[topics.items]} partitions and {topics.item_changes} has "
                f"{counts[topics.item_changes]}: give both the same number"
            )
        ids = {name: await topic_id_of(self._kafka, name) for name in (topics.items, topics.item_changes)}
        if ids[topics.items] != self._items_id:
            # What was read of a topic that was recreated is worth nothing.
            self._items, self._items_id = ItemLog(self._kafka), ids[topics.items]
        handler = ItemChangesHandler(
            kafka=self._kafka,
            items=self._items,
            group=topics.item_changes_group,
            topic_id=ids[topics.item_changes],
            on_started=partial(self._health.up, COMPONENT),
        )
        subscription = Subscription(
            group=topics.item_changes_group,
            topics=(topics.item_changes,),
            start="none",
            max_records=self._settings.item_changes_batch,
        )
        seconds = self._settings.topic_check_seconds
        try:
            await race(
                ConsumerLoop(self._kafka, subscription, handler, self._settings).run(stop),
                *(watch_topic(self._kafka, name, ids[name], seconds, self._health) for name in ids),
            )
        except TopicRecreated as error:
            raise IngestError("a topic of items was recreated, and is read from its start") from error
