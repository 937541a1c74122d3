"""Changes the surfaces: writes versions to the topic `surfaces`, one after the other.

Two operators may apply at once. Each begins with a transactional producer of one id, so Kafka fences the one that began
earlier: it can write no more. What the later one reads after that stays the newest until it writes. So no version is
overwritten unseen, and readers need no rule to tell the winner.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced

from catalog.errors import BadRecord
from ingest.consuming.offsets import partitions_of, reader
from ingest.consuming.read_topic import read_to_end
from ranking.settings import Surfaces
from ranking.surfaces.document import as_values
from ranking.surfaces.record import SurfacesVersion, decode, encode, key_of, version_in
from rollout.errors import PublisherReplaced, SurfacesChanged, VersionNotKept
from topics.closing import close_client
from topics.errors import KafkaUnreachable
from topics.producer import start_producer
from topics.settings import KafkaSettings

KEPT: Final = 20
"""Versions that are kept, the one in force included."""


@dataclass(frozen=True, slots=True)
class SurfacesHistory:
    """What the topic holds.

    Attributes:
        versions: The kept versions that this release can read, in the order in which they were applied.
        refused: Keys of the records that it cannot read, with the reason.
        newest: The highest number that a version has, readable or not. 0: there is none.
    """

    versions: Sequence[SurfacesVersion] = ()
    refused: Sequence[tuple[str, str]] = ()
    newest: int = 0

    @property
    def in_force(self) -> SurfacesVersion | None:
        """The version in force. None: the settings are."""
        return self.versions[-1] if self.versions else None

    def version(self, number: int) -> SurfacesVersion:
        """A kept version. Raises VersionNotKept."""
        for each in self.versions:
            if each.version == number:
                return each
        kept = ", ".join(str(each.version) for each in self.versions) or "none"
        raise VersionNotKept(f"version {number} of the surfaces is not kept", f"there are: {kept}")


async def read_history(kafka: KafkaSettings) -> SurfacesHistory:
    """Reads the kept versions.

    Raises:
        TopicMissing: The topic does not exist.
        KafkaUnreachable: Kafka does not answer.
    """
    versions: dict[bytes, SurfacesVersion] = {}
    refused: dict[bytes, str] = {}
    newest = 0
    try:
        async with (
            asyncio.timeout(kafka.request_timeout_ms / 1000),
            reader(
                kafka,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            ) as consumer,
        ):
            partitions = await partitions_of(kafka, kafka.topics.surfaces)
            consumer.assign(partitions)
            async for record in read_to_end(consumer, partitions):
                key = record.key or b""
                versions.pop(key, None)  # A later record of its key is behind those in between.
                refused.pop(key, None)
                newest = max(newest, version_in(key) or 0)
                if record.value is None:
                    continue
                try:
                    versions[key] = decode(record.key, record.value)
                except BadRecord as error:
                    refused[key] = error.reason
    except (KafkaError, OSError, TimeoutError) as error:
        raise KafkaUnreachable(kafka.bootstrap, error or "no answer in time") from error
    named = [(key.decode(errors="replace"), reason) for key, reason in refused.items()]
    return SurfacesHistory(tuple(versions.values()), named, newest)


class SurfacesPublisher:
    """Applies versions of the surfaces. An installation has one at a time: a new one replaces the old one.

    Use it as a context.

    Attributes:
        history: What the topic holds, as of the last step.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        """Does not connect yet."""
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self.history = SurfacesHistory()

    async def __aenter__(self) -> Self:
        """Replaces any other publisher, and reads the topic. Raises TopicsError."""
        self._producer = await start_producer(
            self._kafka, transactional_id=f"{self._kafka.topic_prefix}recstream-surfaces"
        )
        try:
            self.history = await read_history(self._kafka)
        except BaseException:
            await close_client(self._producer)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connection."""
        if self._producer is not None:
            await close_client(self._producer)

    async def apply(
        self, surfaces: Surfaces | None, *, applied_by: str, comment: str = "", base: int | None = None
    ) -> SurfacesVersion:
        """Puts surfaces in force, as the next version. If they are in force already, nothing is written.

        Args:
            surfaces: The surfaces. None: each process takes those of its settings.
            applied_by: Who applies them.
            comment: Why.
            base: The version that the change was made from. None: any.

        Returns:
            The version in force: a new one, or the one that was there.

        Raises:
            SurfacesChanged: Another version than `base` is in force.
            PublisherReplaced: Another publisher has started.
            KafkaUnreachable: Kafka does not answer. Whether it has the version, `read_history` tells later.
        """
        now = self.history.in_force
        if base is not None and base != (now.version if now is not None else 0):
            raise SurfacesChanged(
                f"the change was made from version {base}, but {_described(now)}",
                "look at what has changed (`recstream surfaces show`), and make the change from there",
            )
        if now is not None and _same(now.surfaces, surfaces):
            return now
        made = SurfacesVersion(
            self.history.newest + 1, surfaces, time.time_ns() // 1_000_000, applied_by, comment
        )
        await self._write(made)
        kept = [each for each in self.history.versions if each.version > made.version - KEPT]
        self.history = SurfacesHistory((*kept, made), self.history.refused, made.version)
        return made

    async def _write(self, made: SurfacesVersion) -> None:
        assert self._producer is not None
        topic = self._kafka.topics.surfaces
        old = [each.version for each in self.history.versions if each.version <= made.version - KEPT]
        try:
            async with asyncio.timeout(self._kafka.request_timeout_ms / 1000), self._producer.transaction():
                await self._producer.send_and_wait(topic, encode(made), key=key_of(made.version))
                for version in old:
                    await self._producer.send_and_wait(topic, None, key=key_of(version))
        except ProducerFenced as error:
            raise PublisherReplaced(
                "another `recstream surfaces` command has taken over, and nothing was changed",
                "see `recstream surfaces history`",
            ) from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise KafkaUnreachable(self._kafka.bootstrap, error or "no answer in time") from error


def _same(one: Surfaces | None, other: Surfaces | None) -> bool:
    if one is None or other is None:
        return one is other
    return as_values(one) == as_values(other)


def _described(version: SurfacesVersion | None) -> str:
    if version is None:
        return "no version is in force"
    return f"version {version.version}, applied by {version.applied_by}, is in force"
