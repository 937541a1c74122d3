"""Which model versions are served: one record on a topic of its own, read like the rest of the catalogue.

So it is seen with Valkey and Triton down, and whoever has read the vectors has read who answers by them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from google.protobuf.message import DecodeError

from catalog.errors import BadRecord
from recstream.storage.v1.model_pb2 import ServedVersions
from topics.closing import close_client
from topics.errors import KafkaUnreachable
from topics.partitions import partition_counts
from topics.producer import start_producer
from topics.settings import KafkaSettings

log = structlog.get_logger()

KEY: Final = b"served"

Listener = Callable[[ServedVersions], None]
Reach = Callable[[Mapping[int, int]], Awaitable[None]]
"""Waits until vectors are read up to these end offsets, by partition."""


def decode_versions(key: bytes | None, value: bytes | None) -> ServedVersions:
    """The record; one without a value says that nothing is served. Raises BadRecord."""
    if key != KEY:
        raise BadRecord(f"its key is not {KEY.decode()}")
    try:
        record = ServedVersions.FromString(value or b"")
    except DecodeError as error:
        raise BadRecord(f"cannot be read as ServedVersions: {error}") from error
    if not 0 <= record.share <= 1:
        raise BadRecord(f"the share {record.share} is not between 0 and 1")
    return record


class VersionWatcher:
    """The newest record that this process may go by: it has read the vectors that the record builds upon."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._pending: ServedVersions | None = None
        self._wake = asyncio.Event()
        self.record = ServedVersions()
        self.settled = asyncio.Event()
        """Set while no record waits for vectors."""
        self.settled.set()

    def listen(self, listener: Listener) -> None:
        """Calls the listener with every record from now on."""
        self._listeners.append(listener)

    def on_record(self, record: ServedVersions) -> None:
        """The topic says so. Only the newest of what waits for vectors counts."""
        self._pending = record
        self.settled.clear()
        self._wake.set()

    async def follow(self, reach: Reach) -> None:
        """Until cancelled. Called again after a failure, it takes up the record that waits for vectors."""
        if self._pending is not None:
            self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            record = self._pending
            if record is None:
                continue
            reaching = asyncio.ensure_future(reach(dict(record.vector_ends)))
            waking = asyncio.ensure_future(self._wake.wait())
            try:
                done, _ = await asyncio.wait((reaching, waking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                reaching.cancel()
                waking.cancel()
                await asyncio.gather(reaching, waking, return_exceptions=True)
            if reaching in done:
                reaching.result()
            if record is self._pending:
                self._pending = None
                self._notify(record)
                self.settled.set()

    def _notify(self, record: ServedVersions) -> None:
        self.record = record
        log.info(
            "model_versions_served",
            base=record.base.version,
            next=record.next.version,
            share=round(record.share, 4),
        )
        for listener in self._listeners:
            try:
                listener(record)
            except Exception:
                log.exception("version_listener_failed")


async def read_versions(kafka: KafkaSettings) -> ServedVersions:
    """What the topic says now; an empty record if nothing was ever published.

    Raises TopicMissing, KafkaUnreachable, and BadRecord for a record that cannot be read.
    """
    topic = kafka.topics.model_versions
    counts = await partition_counts(kafka, [topic])
    partitions = [TopicPartition(topic, number) for number in range(counts[topic])]
    consumer = AIOKafkaConsumer(
        **kafka.client_options(),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    found = ServedVersions()
    try:
        async with asyncio.timeout(kafka.request_timeout_ms / 1000):
            await consumer.start()
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        found = decode_versions(record.key, record.value)
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaUnreachable(kafka.bootstrap, error or "no answer in time") from error
    finally:
        await close_client(consumer)
    return found


class VersionWriter:
    """Writes the record, one process at a time: whoever begins later takes over, and the one before can write no
    more. Raises KafkaUnreachable where Kafka does not answer."""

    def __init__(self, kafka: KafkaSettings, producer: AIOKafkaProducer) -> None:
        self._kafka = kafka
        self._producer = producer

    @classmethod
    async def begin(cls, kafka: KafkaSettings) -> "VersionWriter":
        """Takes over."""
        return cls(
            kafka, await start_producer(kafka, transactional_id=f"{kafka.topic_prefix}recstream-model")
        )

    async def write(self, record: ServedVersions) -> None:
        """Returns when all in-sync replicas have it. Raises KafkaError, ProducerFenced
        when another has taken over."""
        async with asyncio.timeout(self._kafka.request_timeout_ms / 1000), self._producer.transaction():
            await self._producer.send_and_wait(
                self._kafka.topics.model_versions, record.SerializeToString(deterministic=True), key=KEY
            )

    async def close(self) -> None:
        """Ends the connection."""
        await close_client(self._producer)
