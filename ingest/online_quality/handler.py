"""Measures what users make of their slates: events and sent slates, joined in memory."""

import asyncio
import time
from collections.abc import Callable, Collection

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError

from ingest.consuming.loop import NOTHING, Assignment, Batch, BatchHandler, Offsets
from ingest.online_quality.online_quality import OnlineQuality
from profiles.actions import ProfileSettings
from profiles.interactions import KIND_HEADER, check
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1.interaction_pb2 import Interaction

_SLICE_SECONDS = 0.002


class QualityHandler(BatchHandler):
    """Counts what users make of their slates, from now on. It gives the loop nothing to commit: a new member begins
    with what comes next, and figures for graphs are worth no second reading.

    Args:
        quality: Counts.
        slates_topic: The name of the topic of slates; records of others are interactions.
        profile_settings: What a valid interaction is.
        on_started: Called when the worker has begun to join its group.
    """

    def __init__(
        self,
        *,
        quality: OnlineQuality,
        slates_topic: str,
        profile_settings: ProfileSettings,
        on_started: Callable[[], None],
    ) -> None:
        self._quality = quality
        self._slates_topic = slates_topic
        self._profile_settings = profile_settings
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
            elif (event := self._event(record)) is not None:
                self._quality.record_event(event)
            if time.monotonic() - began > _SLICE_SECONDS:
                await asyncio.sleep(0)  # The same loop applies events to profiles, which goes first.
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
