"""Turns items into vectors, by content hash and model version."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from cachetools import LRUCache

from catalog.catalog import Catalog
from catalog.errors import BadRecord
from catalog.items.items import Item, decode
from catalog.records import vector_key
from inference.model import ModelUnavailable
from ingest import metrics
from ingest.consuming.dead_letters import DeadLetter, DeadLetters
from ingest.consuming.loop import NOTHING, Assignment, Batch, BatchHandler, Offsets
from ingest.consuming.polling import Records
from ingest.embeddings.embedding import Embedded, Embedding
from ingest.errors import DeadLetterNotWritten
from recstream.storage.v1.catalog_pb2 import ItemVector
from telemetry.faults import hold_back
from topics.names import Topics

log = structlog.get_logger()

_WRITTEN_CACHE_SIZE: Final = 100_000
_ONE_BY_ONE_AFTER: Final = 5
_WRITE_SECONDS: Final = 15.0
_POSITION_SECONDS: Final = 2.0
# Failures of Triton and Kafka, which are tried again.
_PASSING: Final = (ModelUnavailable, DeadLetterNotWritten, KafkaError, TimeoutError)


@dataclass(frozen=True, slots=True)
class _Changes:
    """The newest record of each item in a batch.

    Attributes:
        items: Items to embed, with their records, by item id.
        removed: Ids of removed items.
        letters: Records that cannot be used.
    """

    items: dict[str, tuple[Item, ConsumerRecord]]
    removed: frozenset[str]
    letters: tuple[DeadLetter, ...]


class ItemsHandler(BatchHandler):
    """Embeds items that are new or whose content has changed, and removes the vectors of removed items. Content is what
    the model reads: a change of any other attribute embeds nothing.

    Kafka drops the record of a removal after a day (`delete.retention.ms`). If no worker ran meanwhile, none reads it.
    So a new worker also removes the vectors whose items the catalogue does not have, once it has nothing else to do.

    While Triton is away, it waits and commits nothing. An item that is read twice is embedded once, if the catalogue
    has read its vector meanwhile. A new model version reads the topic from its start, in a group of its own.

    A batch is abandoned when its partitions are about to move, unless it is being written. So an old vector cannot
    overwrite the newer one that the next owner writes.

    Args:
        topics: Where vectors go.
        embedding: Makes the vectors.
        version: The model version of the vectors.
        catalog: What was read of items and vectors.
        producer: Writes the vectors.
        dead_letters: Takes records that are not valid items, and items that cannot be embedded.
        topic_id: The id of the topic of items, 16 bytes.
        on_started: Called when the worker has begun to join its group.
    """

    def __init__(
        self,
        *,
        topics: Topics,
        embedding: Embedding,
        version: int,
        catalog: Catalog,
        producer: AIOKafkaProducer,
        dead_letters: DeadLetters,
        topic_id: bytes,
        on_started: Callable[[], None],
    ) -> None:
        self._topics = topics
        self._embedding = embedding
        self._version = version
        self._catalog = catalog
        self._producer = producer
        self._dead_letters = dead_letters
        self._topic_id = topic_id
        self._on_started = on_started
        self._swept = False
        # The hashes that this worker wrote. The catalogue reads them a moment later.
        self._written: LRUCache[str, bytes | None] = LRUCache(_WRITTEN_CACHE_SIZE)

    async def started(self, consumer: AIOKafkaConsumer) -> None:
        self._on_started()

    async def handle(self, batch: Batch) -> Offsets:
        """Raises TooManyDeadLetters."""
        changes = self._read(batch.records)
        await batch.retry(partial(self._attempt, batch, changes), on=_PASSING)
        return {tp: OffsetAndMetadata(part[-1].offset + 1, "") for tp, part in batch.records.items()}

    async def after_poll(self, consumer: AIOKafkaConsumer, assignment: Assignment, records: int) -> Offsets:
        """Commits the ends of the partitions once nothing is left to read. A publisher of a version waits for that, and
        where compaction has removed the last records, no record brings the offset there."""
        if records:
            return NOTHING
        if not self._swept:
            self._swept = await self._remove_orphans(consumer)
        try:
            async with asyncio.timeout(_POSITION_SECONDS):
                held = assignment.partitions & consumer.assignment()
                return {tp: OffsetAndMetadata(await consumer.position(tp), "") for tp in held}
        except (KafkaError, TimeoutError):
            return NOTHING  # Partitions are moving.

    async def _remove_orphans(self, consumer: AIOKafkaConsumer) -> bool:
        """Removes the vectors of items that are gone. Returns whether all of them are removed."""
        orphans = self._catalog.orphaned_vectors(self._version)
        if not orphans:
            return True
        topic = self._topics.items
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                # A vector may be read before its item is. The item is on the topic by now.
                partitions = [
                    TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic) or ()
                ]
                ends = await consumer.end_offsets(partitions)
                await self._catalog.reach_items({tp.partition: end for tp, end in ends.items()})
                orphans &= self._catalog.orphaned_vectors(self._version)
                await self._send(dict.fromkeys(orphans))
        except (KafkaError, TimeoutError) as error:
            log.warning("orphaned_vectors_stay", vectors=len(orphans), cause=repr(error))
            return False
        self._written.update(dict.fromkeys(orphans))
        log.info("orphaned_vectors_removed", vectors=len(orphans))
        return True

    async def _attempt(self, batch: Batch, changes: _Changes, number: int) -> None:
        try:
            embedding = asyncio.ensure_future(self._embed(changes, number))
            await batch.unless_leaving(embedding)
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._write(changes, embedding.result())
        except _PASSING as error:
            if number in (0, 4) or number % 20 == 0:
                log.warning("items_wait", attempt=number, cause=repr(error))
            raise

    def _read(self, records: Records) -> _Changes:
        items: dict[str, tuple[Item, ConsumerRecord]] = {}
        removed: set[str] = set()
        letters: list[DeadLetter] = []
        for raw in (raw for part in records.values() for raw in part):
            try:
                if raw.value is not None:
                    item = decode(raw.key, raw.value)
                    items[item.item_id] = (item, raw)
                    removed.discard(item.item_id)
                elif raw.key is not None:
                    item_id = raw.key.decode()
                    items.pop(item_id, None)
                    removed.add(item_id)
                else:
                    raise BadRecord("it has neither key nor value")
            except UnicodeDecodeError:
                letters.append(DeadLetter(raw, self._topic_id, metrics.BAD_KEY, "the key is not UTF-8"))
            except BadRecord as error:
                letters.append(DeadLetter(raw, self._topic_id, metrics.BAD_ITEM, error.reason))
            except Exception as error:
                hold_back("item-record", error, partition=raw.partition, offset=raw.offset)
                letters.append(DeadLetter(raw, self._topic_id, metrics.ITEM_FAULT, repr(error)))
        return _Changes(items, frozenset(removed), tuple(letters))

    async def _embed(self, changes: _Changes, attempt: int) -> Embedded:
        read = self._embedding.text_attributes
        changed = [
            item
            for item, _ in changes.items.values()
            # A vector made from all of the item's media, or from all whose contents are at hand, cannot get better.
            if self._hash(item.item_id) not in (item.content_hash(read), item.embedded_hash(read))
        ]
        metrics.UNCHANGED.inc(len(changes.items) - len(changed) if attempt == 0 else 0)
        # A batch that keeps failing although the model is ready has an item that the model cannot embed.
        if attempt >= _ONE_BY_ONE_AFTER and await self._embedding.ready():
            return await self._embedding.one_by_one(changed)
        try:
            return await self._embedding(changed)
        except _PASSING:
            raise
        except Exception as error:  # A fault of ours, which one of the items meets.
            log.warning("items_embedded_one_by_one", items=len(changed), cause=repr(error))
            return await self._embedding.one_by_one(changed)

    def _hash(self, item_id: str) -> bytes | None:
        if item_id in self._written:
            return self._written[item_id]
        return self._catalog.content_hash(self._version, item_id)

    async def _write(self, changes: _Changes, embedded: Embedded) -> None:
        letters = [
            *changes.letters,
            *(
                DeadLetter(changes.items[item_id][1], self._topic_id, metrics.NOT_EMBEDDED, why)
                for item_id, why in embedded.failures.items()
            ),
        ]
        usable = len(changes.items) - len(embedded.failures) + len(changes.removed)
        self._dead_letters.admit(letters, usable)
        values: dict[str, bytes | None] = dict.fromkeys(changes.removed)
        hashes: dict[str, bytes | None] = dict.fromkeys(changes.removed)
        for item_id, vector in embedded.vectors.items():
            content_hash = changes.items[item_id][0].embedded_hash(self._embedding.text_attributes)
            message = ItemVector(vector=vector.astype("<f4").tobytes(), content_hash=content_hash)
            values[item_id] = message.SerializeToString(deterministic=True)
            hashes[item_id] = content_hash
        await self._send(values)
        await self._dead_letters.write(letters)
        self._written.update(hashes)
        metrics.EMBEDDED.inc(len(embedded.vectors))

    async def _send(self, values: Mapping[str, bytes | None]) -> None:
        """Writes vectors by item id, and waits until Kafka has them. None: the vector is removed."""
        topic, version = self._topics.item_vectors, self._version
        sent = [
            await self._producer.send(topic, value, key=vector_key(version, item_id))
            for item_id, value in values.items()
        ]
        await asyncio.gather(*sent)
