"""Reads the topic `items` back: the states of the partitions that a worker owns, and the contents of media."""

import asyncio
import time
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from catalog.errors import BadRecord
from catalog.items.item_changes import decode_state
from ingest.consuming.read_topic import read_to_end
from ingest.consuming.with_timeout import with_timeout
from ingest.items.stored_items import StoredItems
from topics.closing import close_client
from topics.layout import DAY_MS
from topics.settings import KafkaSettings

_ASK_SECONDS = 15.0
_FETCH_MS = 5_000
_RECORDS_A_POLL = 1_000
_POLLS = 10
_SLICE_SECONDS = 0.002


class Slices:
    """Cuts long work into slices, between which other tasks run."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def give_way(self) -> None:
        """Lets other tasks run if the slice has lasted long enough."""
        if time.monotonic() - self._began > _SLICE_SECONDS:
            await asyncio.sleep(0)
            self._began = time.monotonic()


class ItemLog:
    """The partitions of `items` that a worker owns. What was read stays when partitions move, a call times out, or the
    clients are closed. So of a partition that stays only what came since is read, however large the topic is.

    Reading gives way to other tasks every few milliseconds, because workers of other roles share the event loop.

    Args:
        kafka: The cluster.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._topic = kafka.topics.items
        self._partitions: dict[int, StoredItems] = {}
        self._next: dict[int, int] = {}
        self._following: AIOKafkaConsumer | None = None
        self._fetching: AIOKafkaConsumer | None = None

    def __getitem__(self, partition: int) -> StoredItems:
        return self._partitions[partition]

    async def take(self, partitions: Collection[int]) -> None:
        """Reads these partitions to their end, and forgets all others. Raises KafkaError, TimeoutError."""
        for gone in self._partitions.keys() - set(partitions):
            del self._partitions[gone], self._next[gone]
        if self._following is None:
            self._following = await self._consumer()
        following = self._following
        owned = [TopicPartition(self._topic, number) for number in sorted(partitions)]
        following.assign(owned)
        if not owned:
            return
        first = await with_timeout(following.beginning_offsets(owned), _ASK_SECONDS)
        for tp in owned:
            if tp.partition not in self._partitions:
                self._partitions[tp.partition] = StoredItems(self._kafka.item_changes_days * DAY_MS / 1000)
                self._next[tp.partition] = first[tp]
            self._next[tp.partition] = max(first[tp], self._next[tp.partition])
        begin = {tp: self._next[tp.partition] for tp in owned}
        slices = Slices()
        async for record in read_to_end(following, owned, first=begin):
            self._read(record)
            await slices.give_way()
        for tp in owned:
            following.seek(tp, self._next[tp.partition])
        following.resume(*owned)

    async def follow(self) -> None:
        """Reads what came since, without waiting for more. Raises KafkaError, TimeoutError."""
        if self._following is None or not self._following.assignment():
            return
        slices = Slices()
        for _ in range(_POLLS):
            polling = self._following.getmany(timeout_ms=0, max_records=_RECORDS_A_POLL)
            polled: Mapping[TopicPartition, list[ConsumerRecord]] = await with_timeout(polling, _ASK_SECONDS)
            if not polled:
                return
            for record in (record for part in polled.values() for record in part):
                self._read(record)
                await slices.give_way()

    async def contents(self, partition: int, offset: int) -> dict[bytes, bytes]:
        """The contents of the media of one record, by hash. None if the record is gone. Raises KafkaError,
        TimeoutError."""
        if self._fetching is None:
            self._fetching = await self._consumer()
        tp = TopicPartition(self._topic, partition)
        self._fetching.assign([tp])
        self._fetching.seek(tp, offset)
        fetching = self._fetching.getmany(timeout_ms=_FETCH_MS, max_records=1)
        polled: Mapping[TopicPartition, list[ConsumerRecord]] = await with_timeout(fetching, _ASK_SECONDS)
        record = next(iter(polled.get(tp, ())), None)
        if record is None or record.offset != offset:
            return {}
        try:
            media = decode_state(record).item.media
        except BadRecord:
            return {}
        return {each.content_hash: each.content for each in media if each.content}

    async def close(self) -> None:
        """Closes its clients."""
        for client in (self._following, self._fetching):
            if client is not None:
                await close_client(client)
        self._following = self._fetching = None

    async def _consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await with_timeout(consumer.start(), self._kafka.request_timeout_ms / 1000)
        except BaseException:
            await close_client(consumer)
            raise
        return consumer

    def _read(self, record: ConsumerRecord) -> None:
        self._partitions[record.partition].read(record)
        self._next[record.partition] = record.offset + 1
