"""Which model versions are served: one record on a topic of its own, read like the rest of the catalogue.

It can therefore be read with Valkey and Triton down. A process that has read the vectors also knows which versions
are served.
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
from telemetry.faults import hold_back
from telemetry.unknown_fields import note_in
from topics.closing import close_client
from topics.errors import KafkaUnreachable
from topics.partitions import partition_counts
from topics.producer import start_producer
from topics.settings import KafkaSettings

log = structlog.get_logger()

KEY: Final = b"served"

Listener = Callable[[ServedVersions], None]
Reach = Callable[[Mapping[int, int]], Awaitable[None]]
"""Waits until the vectors are read up to these end offsets (by partition)."""


def decode_versions(key: bytes | None, value: bytes | None) -> ServedVersions:
    """Parses a record. One without a value means that no version is served. Raises BadRecord."""
    if key != KEY:
        raise BadRecord(f"its key is not {KEY.decode()}")
    try:
        record = ServedVersions.FromString(value or b"")
    except DecodeError as error:
        raise BadRecord(f"cannot be read as ServedVersions: {error}") from error
    note_in("ServedVersions", record)
    if not 0 <= record.share <= 1:
        raise BadRecord(f"the share {record.share} is not between 0 and 1")
    return record


class VersionWatcher:
    """The newest record that takes effect in this process. A record takes effect when the vectors that it depends on
    are read.

    Attributes:
        record: The record in effect.
        settled: Set while no record waits for its vectors.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._pending: ServedVersions | None = None
        self._wake = asyncio.Event()
        self.record = ServedVersions()
        self.settled = asyncio.Event()
        self.settled.set()

    def listen(self, listener: Listener) -> None:
        """Calls the listener with every record that takes effect from now on."""
        self._listeners.append(listener)

    def on_record(self, record: ServedVersions) -> None:
        """Takes a record from the topic. It replaces a record that still waits for its vectors."""
        self._pending = record
        self.settled.clear()
        self._wake.set()

    async def follow(self, reach: Reach) -> None:
        """Puts each record into effect when its vectors are read, until cancelled. Called again after a failure, it
        continues with the record that waits."""
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
            except Exception as error:
                hold_back("version-listener", error)


async def read_versions(kafka: KafkaSettings) -> ServedVersions:
    """Reads the newest record of the topic. Records that cannot be read are skipped, as `VersionWatcher` skips them.

    Returns:
        The record. It is empty if nothing was ever published.

    Raises:
        TopicMissing: The topic does not exist.
        KafkaUnreachable: Kafka does not answer.
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
                        try:
                            found = decode_versions(record.key, record.value)
                        except BadRecord as error:
                            log.warning(
                                "model_versions_bad_record", offset=record.offset, reason=error.reason
                            )
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaUnreachable(kafka.bootstrap, error or "no answer in time") from error
    finally:
        await close_client(consumer)
    return found


class VersionWriter:
    """Writes the record. Only one process can: a writer that begins later fences the earlier one."""

    def __init__(self, kafka: KafkaSettings, producer: AIOKafkaProducer) -> None:
        self._kafka = kafka
        self._producer = producer

    @classmethod
    async def begin(cls, kafka: KafkaSettings) -> "VersionWriter":
        """Fences the writers that began earlier. Raises KafkaUnreachable if Kafka does not answer."""
        return cls(
            kafka, await start_producer(kafka, transactional_id=f"{kafka.topic_prefix}recstream-model")
        )

    async def write(self, record: ServedVersions) -> None:
        """Returns when all in-sync replicas have the record. Raises KafkaError; ProducerFenced if another writer began
        later."""
        async with asyncio.timeout(self._kafka.request_timeout_ms / 1000), self._producer.transaction():
            await self._producer.send_and_wait(
                self._kafka.topics.model_versions, record.SerializeToString(deterministic=True), key=KEY
            )

    async def close(self) -> None:
        """Ends the connection."""
        await close_client(self._producer)
