"""Measures how users respond to their slates. Events and sent slates are joined in memory."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from google.protobuf.message import DecodeError

from ingest.consuming.loop import NOTHING, Assignment, Batch, BatchHandler, Offsets
from ingest.online_quality.online_quality import OnlineQuality
from profiles.actions import ProfileSettings
from profiles.interactions import KIND_HEADER, check
from profiles.mappings import EventMapping
from profiles.wire import Undecodable, decode
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1.interaction_pb2 import Interaction
from telemetry.unknown_fields import note_in

_SLICE_SECONDS = 0.002


class QualityHandler(BatchHandler):
    """Counts how users respond to their slates. It commits no offsets: a new member begins at the newest records, since
    figures for graphs are not worth a second reading.

    Args:
        quality: Counts.
        slates_topic: The name of the topic of slates. Records of other topics are interactions.
        profile_settings: The rules for a valid interaction.
        mappings: The mappings of other producers' records.
        on_started: Called when the worker has begun to join its group.
    """

    def __init__(
        self,
        *,
        quality: OnlineQuality,
        slates_topic: str,
        profile_settings: ProfileSettings,
        mappings: Sequence[EventMapping],
        on_started: Callable[[], None],
    ) -> None:
        self._quality = quality
        self._slates_topic = slates_topic
        self._profile_settings = profile_settings
        self._mappings = mappings
        self._on_started = on_started

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        self._on_started()

    async def handle(self, batch: Batch) -> Offsets:
        # Slates first: events refer to them.
        for tp in sorted(batch.records, key=lambda tp: tp.topic != self._slates_topic):
            await self._count(batch.records[tp], is_slate=tp.topic == self._slates_topic)
        return NOTHING

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        self._quality.expire_waiting()
        return NOTHING

    async def _count(self, records: Collection[ConsumerRecord], *, is_slate: bool) -> None:
        began = time.monotonic()
        for record in records:
            if is_slate:
                if (slate := _slate(record)) is not None:
                    self._quality.record_slate(slate)
            else:
                for event in self._events(record):
                    self._quality.record_event(event)
            if time.monotonic() - began > _SLICE_SECONDS:
                await asyncio.sleep(0)  # The same event loop applies events to profiles, which has priority.
                began = time.monotonic()

    def _events(self, record: ConsumerRecord) -> list[Interaction]:
        """Returns the valid interactions of a record. The interactions worker writes the dead letters."""
        if record.value is None or any(name == KIND_HEADER for name, _ in record.headers):
            return []
        try:
            found = decode(record.value, record.headers, self._mappings).interactions
        except Undecodable:
            return []
        return [event for event in found if not check(event, record.timestamp, self._profile_settings)]


def _slate(record: ConsumerRecord) -> SlateRecord | None:
    try:
        slate = SlateRecord.FromString(record.value or b"")
    except DecodeError:
        return None  # recstream did not write it
    note_in("SlateRecord", slate)
    return slate
