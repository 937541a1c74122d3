"""The worker that measures online quality: events and sent lists as they come, from now on."""

import asyncio
import time
from collections.abc import Callable, Collection

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError

from inference.version_routing import Pointer
from ingest.consuming.groups import quality_group
from ingest.consuming.polling import poll
from ingest.consuming.supervise import unless_stopped
from ingest.consuming.topic_check import check_topics_usable
from ingest.online_quality.online_quality import OnlineQuality
from ingest.settings import IngestSettings
from profiles.actions import Actions, ProfileSettings
from profiles.interactions import KIND_HEADER, check
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1.interaction_pb2 import Interaction
from telemetry.health import Health
from topics.closing import close_client
from topics.settings import KafkaSettings

COMPONENT = "quality"
_SLICE_SECONDS = 0.002


class QualityWorker:
    """One member of a group that commits nothing: who comes begins with what comes next.

    Partitions of both topics with the same number go to the same member, so that a user's lists and events meet where
    their producers choose partitions alike, as the server does for both. With a single member all of them meet.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
        surfaces: Collection[str],
        pointer: Callable[[], Pointer],
        health: Health,
    ) -> None:
        self._kafka = kafka
        self._profile_settings = profile_settings
        self._settings = settings
        self._health = health
        self._quality = OnlineQuality(
            Actions(profile_settings.actions), surfaces, pointer, settings.quality_slates
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises TopicsMissing, KafkaError, KafkaUnreachable; then a new run may begin."""
        topics = self._kafka.topics
        await check_topics_usable(self._kafka, 0, [topics.slates])
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            group_id=quality_group(self._kafka),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=max(100, self._settings.session_timeout_ms // 4),
            fetch_max_wait_ms=self._settings.fetch_wait_ms,
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        consumer.subscribe([topics.slates, topics.interactions])
        try:
            if not await unless_stopped(consumer.start(), stop):
                return
            self._health.up(COMPONENT)
            while not stop.is_set():
                polled = await poll(consumer, self._settings.poll_ms, self._settings.batch_records)
                # Lists first: events refer to them.
                for tp in sorted(polled, key=lambda tp: tp.topic != topics.slates):
                    await self._take(polled[tp], is_slate=tp.topic == topics.slates)
                self._quality.expire_waiting()
        finally:
            await close_client(consumer)

    async def _take(self, records: Collection[ConsumerRecord], *, is_slate: bool) -> None:
        began = time.monotonic()
        for record in records:
            if is_slate:
                if (slate := _slate(record)) is not None:
                    self._quality.record_slate(slate)
            elif (event := self._event(record)) is not None:
                self._quality.record_event(event)
            if time.monotonic() - began > _SLICE_SECONDS:
                await asyncio.sleep(0)  # the way of events runs on the same loop, and goes first
                began = time.monotonic()

    def _event(self, record: ConsumerRecord) -> Interaction | None:
        """The interaction, unless it is one that the worker of the profiles refuses, and tells about."""
        if record.value is None or any(name == KIND_HEADER for name, _ in record.headers):
            return None
        try:
            if record.value[:1] == b"{":
                event: Interaction = Parse(record.value, Interaction(), ignore_unknown_fields=True)
            else:
                event = Interaction.FromString(record.value)
        except (DecodeError, ParseError, ValueError, TypeError, RecursionError):
            return None
        return None if check(event, record.timestamp, self._profile_settings) else event


def _slate(record: ConsumerRecord) -> SlateRecord | None:
    try:
        return SlateRecord.FromString(record.value or b"")
    except DecodeError:
        return None  # not of our making
