"""The catalogue worker: items to vectors, by content hash and model version."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.errors import KafkaError

from catalog.errors import BadRecord
from catalog.items.items import Item, decode
from catalog.records import vector_key
from inference.model import ModelUnavailable
from ingest import metrics
from ingest.consuming.dead_letters import DeadLetter, DeadLetters
from ingest.consuming.polling import poll
from ingest.consuming.supervise import unless_stopped
from ingest.consuming.with_timeout import with_timeout
from ingest.embeddings.embedding import Embedded, Embedding
from ingest.errors import DeadLetterNotWritten
from ingest.settings import IngestSettings
from recstream.storage.v1.catalog_pb2 import ItemVector
from topics.closing import close_client
from topics.settings import KafkaSettings

log = structlog.get_logger()

_REMEMBERED: Final = 100_000
_ONE_BY_ONE_AFTER: Final = 5
_WRITE_SECONDS: Final = 15.0

KnownHash = Callable[[str], bytes | None]
"""The content hash of an item's vector, as far as the catalogue has read; None where it has no vector."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a batch asks for: the newest record of each item."""

    items: dict[str, tuple[Item, ConsumerRecord]]
    removed: frozenset[str]
    letters: tuple[DeadLetter, ...]


class Catalogue(ConsumerRebalanceListener):  # type: ignore[misc]
    """Embeds items that are new or whose text has changed, and removes the vectors of removed ones.

    While Triton is away it waits and keeps its place. Reading an item twice embeds it once, as long as the
    catalogue has seen the vector. A new model version reads the topic from its start, in a group of its own.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: IngestSettings,
        embedding: Embedding,
        version: int,
        group: str,
        known: KnownHash,
        producer: AIOKafkaProducer,
        dead_letters: DeadLetters,
        topic_id: bytes,
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._embedding = embedding
        self._version = version
        self._known = known
        self._producer = producer
        self._dead_letters = dead_letters
        self._topic_id = topic_id
        self._group = group
        # What this worker wrote itself: the catalogue reads it a moment later.
        self._written: OrderedDict[str, bytes | None] = OrderedDict()
        self._epoch = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._committed: dict[TopicPartition, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises TooManyDeadLetters; KafkaError, upon which a new worker may start."""
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            group_id=self._group,
            enable_auto_commit=False,
            # Embedding twice does no harm, so a place that is lost is looked for at the start.
            auto_offset_reset="earliest",
            session_timeout_ms=self._settings.session_timeout_ms,
            heartbeat_interval_ms=max(100, self._settings.session_timeout_ms // 4),
            max_poll_interval_ms=24 * 3_600_000,  # Triton may be away for long
            isolation_level="read_committed",
        )
        consumer.subscribe([self._kafka.topics.items], listener=self)
        try:
            if not await unless_stopped(consumer.start(), stop):
                return
            while not stop.is_set():
                polled = await poll(consumer, self._settings.poll_ms, self._settings.embed_batch)
                if polled:
                    await self._finish(consumer, polled, stop)
                else:
                    await self._commit_end(consumer)
        finally:
            await close_client(consumer)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called by aiokafka: what is in hand is abandoned unless it is being written right now, so that an older
        text's vector cannot follow a newer one's from the next owner."""
        self._epoch += 1
        self._committed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.revoke_timeout_ms / 1000):
                await self._idle.wait()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called by aiokafka."""

    async def _finish(
        self,
        consumer: AIOKafkaConsumer,
        polled: Mapping[TopicPartition, Sequence[ConsumerRecord]],
        stop: asyncio.Event,
    ) -> None:
        epoch = self._epoch
        work = self._read(polled)
        self._dead_letters.admit(work.letters)
        attempt = 0
        while epoch == self._epoch and not stop.is_set():
            try:
                embedded = await self._embed(work, attempt)
                if epoch == self._epoch:
                    await self._write(work, embedded)
                    await self._commit(consumer, polled)
                return
            except (ModelUnavailable, DeadLetterNotWritten, KafkaError, TimeoutError) as error:
                if attempt in (0, 4) or attempt % 20 == 0:
                    log.warning("catalogue_waits", attempt=attempt, cause=repr(error))
            wait = (
                min(self._settings.backoff_max_ms, self._settings.backoff_ms * 2 ** min(attempt, 20)) / 1000
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait)
            attempt += 1

    def _read(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> _Work:
        items: dict[str, tuple[Item, ConsumerRecord]] = {}
        removed: set[str] = set()
        letters: list[DeadLetter] = []
        for raw in (raw for part in polled.values() for raw in part):
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
                letters.append(DeadLetter(raw, self._topic_id, "key", "the key is not UTF-8"))
            except BadRecord as error:
                letters.append(DeadLetter(raw, self._topic_id, metrics.ITEM, error.reason))
        return _Work(items, frozenset(removed), tuple(letters))

    async def _embed(self, work: _Work, attempt: int) -> Embedded:
        changed = [
            item
            for item, _ in work.items.values()
            # The first is all of it; of an item that let go of its contents a vector can hold no more than the second.
            if self._hash(item.item_id) not in (item.content_hash(), item.embedded_hash())
        ]
        metrics.UNCHANGED.inc(len(work.items) - len(changed) if attempt == 0 else 0)
        # A batch that fails again and again under a model that is ready holds an item that the model cannot take.
        if attempt >= _ONE_BY_ONE_AFTER and await self._embedding.ready():
            return await self._embedding.one_by_one(changed)
        return await self._embedding(changed)

    def _hash(self, item_id: str) -> bytes | None:
        return self._written[item_id] if item_id in self._written else self._known(item_id)

    async def _write(self, work: _Work, embedded: Embedded) -> None:
        self._idle.clear()
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._send(work, embedded)
        finally:
            self._idle.set()

    async def _send(self, work: _Work, embedded: Embedded) -> None:
        letters = [
            DeadLetter(work.items[item_id][1], self._topic_id, "not_embedded", why)
            for item_id, why in embedded.failures.items()
        ]
        self._dead_letters.admit(letters)
        values: dict[str, tuple[bytes | None, bytes | None]] = dict.fromkeys(work.removed, (None, None))
        for item_id, vector in embedded.vectors.items():
            content_hash = work.items[item_id][0].embedded_hash()
            message = ItemVector(vector=vector.astype("<f4").tobytes(), content_hash=content_hash)
            values[item_id] = (message.SerializeToString(deterministic=True), content_hash)
        sent = [
            await self._producer.send(
                self._kafka.topics.item_vectors, value, key=vector_key(self._version, item_id)
            )
            for item_id, (value, _) in values.items()
        ]
        await asyncio.gather(*sent)
        await self._dead_letters.write([*work.letters, *letters])
        for item_id, (_, written) in values.items():
            self._written[item_id] = written
            self._written.move_to_end(item_id)
        while len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
        metrics.EMBEDDED.inc(len(embedded.vectors))

    async def _commit(
        self, consumer: AIOKafkaConsumer, polled: Mapping[TopicPartition, Sequence[ConsumerRecord]]
    ) -> None:
        await self._commit_offsets(consumer, {tp: part[-1].offset + 1 for tp, part in polled.items()})

    async def _commit_end(self, consumer: AIOKafkaConsumer) -> None:
        """Nothing is left to read: so it is said, for where compaction took the last records no record says it.
        Whoever publishes a version waits for it."""
        try:
            async with asyncio.timeout(self._settings.commit_timeout_ms / 1000):
                at = {tp: await consumer.position(tp) for tp in consumer.assignment()}
        except (KafkaError, TimeoutError):
            return  # partitions are moving
        offsets = {tp: offset for tp, offset in at.items() if self._committed.get(tp) != offset}
        if offsets:
            await self._commit_offsets(consumer, offsets)

    async def _commit_offsets(
        self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]
    ) -> None:
        try:
            await with_timeout(consumer.commit(dict(offsets)), self._settings.commit_timeout_ms / 1000)
            self._committed |= offsets
        except (KafkaError, TimeoutError) as error:
            metrics.COMMIT_FAILURES.inc()
            log.warning("commit_failed", cause=repr(error))
