"""Folds changes of items by their source's time, and writes the items, with Kafka transactions.

The worker that owns a partition of `item-changes` is the only one that writes its items to `items`. The state of an
item is in its record there, so nothing else is stored. A change that is read twice changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from catalog.errors import BadRecord
from catalog.items.item_changes import decode_change, encode_state
from catalog.items.item_state import ItemState, merge
from ingest import metrics
from ingest.consuming.commits import Commits
from ingest.consuming.groups import items_transactions
from ingest.consuming.loop import NOTHING, Assignment, Batch, BatchHandler, Offsets
from ingest.consuming.offsets import Committed, OffsetRange, committed, offset_ranges
from ingest.consuming.with_timeout import with_timeout
from ingest.errors import BatchAbandoned
from ingest.items.item_log import ItemLog, Slices
from topics.closing import close_client
from topics.producer import start_producer
from topics.settings import KafkaSettings

log = structlog.get_logger()

_TRANSACTION_TIMEOUT_MS: Final = 30_000
_STEP_SECONDS: Final = 30.0
_CORRECTED_AT_ONCE: Final = 500


class ItemChangesHandler(BatchHandler):
    """Folds the changes of the partitions that it holds, and writes items and offsets in one transaction. So it gives
    the loop nothing to commit. It does not retry either: after a failure a new loop reads what is not committed again.

    A partition is taken over in the order that keeps older states from being written: the producer starts with the
    partition's transactional id, which ends the transaction of the previous owner. Then the items are read.

    Other producers may write to `items` too. Where such a record is older than what is known of its item, the state is
    written again after it.

    Args:
        kafka: The cluster.
        items: What was read of the topic of items. The handler closes its clients.
        group: The consumer group.
        topic_id: The id of the topic of changes, 16 bytes.
        on_started: Called when the worker has begun to join its group.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        items: ItemLog,
        group: str,
        topic_id: bytes,
        on_started: Callable[[], None],
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._topic_id = topic_id
        self._on_started = on_started
        self._items = items
        self._held: dict[TopicPartition, AIOKafkaProducer] = {}
        self._producers: list[AIOKafkaProducer] = []

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        self._on_started()

    async def position(self, consumer: AIOKafkaConsumer, assignment: Assignment, commits: Commits) -> None:
        """Takes over the partitions."""
        await self._release()
        partitions = sorted(assignment.partitions)
        if partitions:
            producers = {tp: await self._start(tp.partition) for tp in partitions}
            found = await committed(self._kafka, self._group, partitions)
            there = await offset_ranges(consumer, partitions)
            await self._items.take({tp.partition for tp in partitions})
            if assignment.revoked:
                return
            self._held = producers
            for tp in partitions:
                consumer.seek(tp, self._first(tp, found.get(tp), there[tp]))
        log.info("item_partitions_assigned", partitions=[tp.partition for tp in partitions])

    async def handle(self, batch: Batch) -> Offsets:
        """Commits one transaction for each partition."""
        for tp, records in batch.records.items():
            if batch.assignment.revoked:
                raise BatchAbandoned
            await self._fold(tp, records)
        return NOTHING

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        """Reads what others wrote to `items`, and writes again what is newer."""
        await self._items.follow()
        for tp, producer in self._held.items():
            if assignment.revoked:
                break
            stored = self._items[tp.partition]
            if outdated := sorted(stored.outdated)[:_CORRECTED_AT_ONCE]:
                await self._write(tp, producer, [stored.get(item_id) for item_id in outdated], {})
                metrics.ITEMS_CORRECTED.inc(len(outdated))
        return NOTHING

    async def stopped(self) -> None:
        await self._release()
        await self._items.close()

    def _first(self, tp: TopicPartition, found: Committed | None, there: OffsetRange) -> int:
        """Where to begin in a partition. Of a recreated topic, at the start: its changes are folded like any others."""
        if found is None or found.metadata != self._topic_id.hex() or found.offset > there.end:
            return there.first
        if found.offset < there.first:
            metrics.ITEM_CHANGES_LOST.inc(there.first - found.offset)
            log.error("item_changes_lost", partition=tp.partition, committed=found.offset, first=there.first)
            return there.first
        return found.offset

    async def _start(self, partition: int) -> AIOKafkaProducer:
        producer = await start_producer(
            self._kafka,
            transactional_id=items_transactions(self._kafka, partition),
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        )
        self._producers.append(producer)
        return producer

    async def _fold(self, tp: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        stored = self._items[tp.partition]
        changed: dict[str, ItemState] = {}
        contents: dict[bytes, bytes] = {}
        outcomes = dict.fromkeys(metrics.CHANGE_OUTCOMES, 0)
        slices = Slices()
        for record in records:
            await slices.give_way()
            try:
                change = decode_change(record.key, record.value)
            except BadRecord as error:
                log.warning(
                    "item_change_rejected",
                    partition=tp.partition,
                    offset=record.offset,
                    reason=error.reason,
                )
                outcomes["rejected"] += 1
                continue
            item_id = change.item.item_id
            known = changed.get(item_id) or stored.get(item_id)
            state = merge(known, change.without_contents())
            if state is known:
                outcomes["superseded"] += 1
            else:
                changed[item_id] = state
                contents.update((each.content_hash, each.content) for each in change.item.media)
                outcomes["applied"] += 1
        await self._write(tp, self._held[tp], list(changed.values()), contents, records[-1].offset + 1)
        for outcome, count in outcomes.items():
            metrics.ITEM_CHANGES_BY[outcome].inc(count)

    async def _write(
        self,
        tp: TopicPartition,
        producer: AIOKafkaProducer,
        states: Sequence[ItemState],
        contents: Mapping[bytes, bytes],
        offset: int | None = None,
    ) -> None:
        """Writes states, and the offset before which all changes are folded, in one transaction."""
        filled = [await self._fill(tp.partition, state, contents) for state in states]
        writing = self._commit(tp, producer, filled, offset)
        offsets = await with_timeout(writing, _STEP_SECONDS)
        self._items[tp.partition].wrote(
            (state, at if any(media.content for media in whole.item.media) else None)
            for state, whole, at in zip(states, filled, offsets, strict=True)
        )

    async def _commit(
        self, tp: TopicPartition, producer: AIOKafkaProducer, states: Sequence[ItemState], offset: int | None
    ) -> list[int]:
        """Returns the offsets of the records."""
        sent = []
        async with producer.transaction():
            for state in states:
                stored = encode_state(state)
                sent.append(
                    await producer.send(
                        self._kafka.topics.items,
                        stored.value,
                        key=state.item.item_id.encode(),
                        partition=tp.partition,
                        headers=stored.headers,
                    )
                )
            if offset is not None:
                await producer.send_offsets_to_transaction(
                    {tp: OffsetAndMetadata(offset, self._topic_id.hex())}, self._group
                )
        return [future.result().offset for future in sent]

    async def _fill(self, partition: int, state: ItemState, contents: Mapping[bytes, bytes]) -> ItemState:
        """The state with the contents of its media: those of the change, or of the record that has them. A patch sends
        none, and a new version of the model needs them."""
        media = state.item.media
        if not media:
            return state
        found: Mapping[bytes, bytes] = contents
        at = self._items[partition].contents_at(state.item.item_id)
        if at is not None and any(each.content_hash not in contents for each in media):
            found = {**await self._items.contents(partition, at), **contents}
        filled = tuple(replace(each, content=found.get(each.content_hash, b"")) for each in media)
        return replace(state, item=replace(state.item, media=filled))

    async def _release(self) -> None:
        self._held = {}
        while self._producers:
            # If a producer cannot stop, the next owner or the timeout aborts its transaction.
            await close_client(self._producers.pop())
