"""The catalogue, kept up to date from its topics."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

import structlog

from catalog import metrics
from catalog.changes import Change
from catalog.in_memory import InMemoryCatalog, wall_clock_ms
from catalog.index.hnsw import BuildStopped
from catalog.index.live import LiveIndex
from catalog.index.measured import measure_indexes
from catalog.items.item_changes import Record
from catalog.items.item_state import ItemState
from catalog.reader import Reader
from catalog.records import Apply, appliers, apply_change
from catalog.settings import CatalogSettings
from catalog.version_watcher import VersionWatcher, decode_versions
from telemetry.background import BackgroundTask, BackOff, OnFailure, run_background
from topics.settings import KafkaSettings

__all__ = ["Catalog", "Change"]

log = structlog.get_logger()

_SLICE_SECONDS = 0.002
_MERGE_LOOK_SECONDS = 0.5
# The recall that `LiveIndex` promises. Many nearly equal vectors can make a graph miss more.
_LEAST_RECALL = 0.9
# A build takes up to minutes of a core, so a failed one is not retried at once.
_MERGE_BACK_OFF = BackOff(initial=5.0, maximum=120.0, jitter=5.0, steady=300.0)


class Catalog(InMemoryCatalog):
    """Everything that can be recommended, read from `items`, `item-vectors` and `item-stats`.

    `model-versions` says which model versions are served; their vectors are kept before those of others. Run the
    catalogue as a task. It answers queries at any time: before `ready`, from what it has read so far.

    Args:
        settings: What the catalogue holds, and how it searches.
        kafka: The broker and the names of the topics.
        now_ms: Returns Unix time in milliseconds.
        further: Applies the records of further topics that are read with the catalogue's, by topic. `ready` waits for
            them too.
        changes: Whether `item-changes` is read too. Then what a server accepted shows here at once, and not only after
            ingest has folded it into `items`. Listeners see the items without the contents of their media.
    """

    def __init__(
        self,
        settings: CatalogSettings,
        kafka: KafkaSettings,
        now_ms: Callable[[], int] = wall_clock_ms,
        further: Mapping[str, Apply] = MappingProxyType({}),
        *,
        changes: bool = False,
    ) -> None:
        super().__init__(settings, now_ms)
        topics = kafka.topics
        self.version_watcher = VersionWatcher()
        self._ready = asyncio.Event()
        self._items_topic = topics.items
        self._changes_topic = topics.item_changes
        self._vectors_topic = topics.item_vectors
        self._measured: frozenset[int] = frozenset()
        self._reader = Reader(
            kafka,
            {
                **appliers(self, topics),
                **({topics.item_changes: partial(apply_change, self)} if changes else {}),
                topics.model_versions: self._on_versions_record,
                **further,
            },
            self._applied,
            settings.partitions_check_seconds,
            first=topics.model_versions,
            tails={topics.item_changes: topics.item_changes_group} if changes else {},
        )

    def background(self) -> tuple[BackgroundTask, ...]:
        """The tasks that keep the catalogue up to date. Those that read or build are retried and continue where they
        stopped. Meanwhile the catalogue answers from what it has."""
        return (
            BackgroundTask("catalog-reader", self._reader.run, OnFailure.RETRY, Reader.EXPECTED),
            BackgroundTask("catalog-index", self._merge, OnFailure.RETRY, back_off=_MERGE_BACK_OFF),
            BackgroundTask("catalog-versions", self._follow_versions, OnFailure.RETRY),
            BackgroundTask("catalog-ready", self._become_ready, OnFailure.FATAL),
        )

    async def run(self) -> None:
        """Reads the topics and merges new vectors into the index, until cancelled. An unreachable Kafka and bad
        records do not end it. Raises TaskFailed."""
        await run_background(self.background())

    @property
    def ready(self) -> bool:
        """Whether the topics are read up to the ends they had at the start, and the served versions are known. Once
        true, it stays true."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Waits for `ready`, without a timeout."""
        await self._ready.wait()

    async def merge_items(self, states: Iterable[ItemState]) -> None:
        """Merges changes that this process wrote, before the records that follow from them are read. Listeners are
        called, and other tasks may run every few milliseconds.

        Args:
            states: The states after the changes, without contents.
        """
        began = time.monotonic()
        for state in states:
            self.merge_item(state)
            if time.monotonic() - began > _SLICE_SECONDS:
                self._applied()
                await asyncio.sleep(0)
                began = time.monotonic()
        self._applied()

    async def reach_items(self, ends: Mapping[int, int]) -> None:
        """Waits until `items` is read up to these end offsets (by partition), without a timeout."""
        await self._reader.reach(self._items_topic, ends)

    def has_changes(self, ends: Mapping[int, int]) -> bool:
        """Whether `item-changes` is known to be read up to these end offsets (by partition)."""
        return self._reader.has_read(self._changes_topic, ends)

    async def reach_changes(self, ends: Mapping[int, int]) -> None:
        """Waits until `item-changes` is read up to these end offsets (by partition), without a timeout."""
        await self._reader.reach(self._changes_topic, ends)

    async def _follow_versions(self) -> None:
        await self.version_watcher.follow(self._reach_vectors)

    async def _become_ready(self) -> None:
        await self._reader.reached.wait()
        await self.version_watcher.settled.wait()
        self._ready.set()
        metrics.READY.set(1)

    def _on_versions_record(self, record: Record) -> None:
        served = decode_versions(record.key, record.value)
        self.prefer_versions([live.version for live in (served.base, served.next) if live.version])
        self.version_watcher.on_record(served)

    async def _reach_vectors(self, ends: Mapping[int, int]) -> None:
        await self._reader.reach(self._vectors_topic, ends)

    def _applied(self) -> None:
        self.notify()
        metrics.ITEMS.set(self.item_count)
        metrics.VECTORS.set(self._vectors.count)

    async def _merge(self) -> None:
        while True:
            await asyncio.sleep(_MERGE_LOOK_SECONDS)
            self._measured = measure_indexes(self._vectors.items(), self._measured)
            for version, index in self._vectors.items():
                await self._merge_one(version, index)

    async def _merge_one(self, version: int, index: LiveIndex) -> None:
        merge = index.due()
        if merge is None:
            return
        stop = threading.Event()
        loop = asyncio.get_running_loop()
        began, before = loop.time(), index.recall
        try:
            made = await asyncio.to_thread(index.make, merge, lambda: not stop.is_set())
            index.install(merge, made)
            if len(merge.rows):
                metrics.MERGES.observe(loop.time() - began)
                metrics.INDEX_BUILT.labels(str(version)).set_to_current_time()
            metrics.INDEX_RECALL.labels(str(version)).set(index.recall)
            if index.recall < _LEAST_RECALL <= before:
                log.warning("catalog_index_misses", version=version, recall=round(index.recall, 3))
        except BuildStopped:
            index.abandon()
        except BaseException:
            # Without the graph every search is a scan: slower, but correct.
            index.abandon()
            raise
        finally:
            stop.set()
