"""Publishes a model version, step by step.

Each step can be repeated. The older version is served until the last step.

1. The bundle is copied to the folder of bundles and installed into Triton's repository. Triton loads it beside the
   older version, and a smoke test calls it once.
2. The record of served versions makes it live, with a share of 0.
3. The catalogue workers compute its item vectors.
4. The record gives it a share of the users. A process follows once it has read all the vectors.
5. Ingest moves the profiles to it.
6. The leftovers of the retired version are removed.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from aiokafka.errors import ProducerFenced

from catalog.version_watcher import VersionWriter, read_versions
from configuration.settings import Settings
from inference.bundle.bundle import MANIFEST, Bundle, read
from inference.errors import BundleRefused, InstallFailed
from inference.model import ModelUnavailable
from inference.repository.repository import install, load, restrict, sweep
from inference.smoke_test import smoke_test
from inference.triton import TritonModel
from inference.version_routing import routing_of
from ingest.consuming.group_lag import group_lag
from ingest.consuming.groups import catalogue_group
from ingest.consuming.offsets import partitions_of, reader
from ingest.errors import BundleIncompatible
from ingest.profiles.bundle_check import check_compatible
from profiles.store.store import ProfileStore
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from rollout import transitions
from rollout.bundle_folder import store_bundle
from rollout.cleanup import Leftovers, clean_up
from rollout.errors import BundleUnfit, PublisherReplaced, TransitionRefused, VersionNotLoaded
from rollout.migration_progress import MigrationProgress, migration_progress
from rollout.progress import Guarded, ProgressListener, Silent
from topics.ids import topic_ids

EMBEDDING: Final = "Computing item vectors"
MIGRATION: Final = "Moving profiles"
CLEANUP: Final = "Removing retired versions"

_SMOKE_TEST_SECONDS = 60.0
_POLL_SECONDS = 0.5
_STALLED_SECONDS = 20.0


class Publisher:
    """Changes which versions are served. An installation has one publisher at a time: a new one replaces the old one.

    Use it as a context.

    Attributes:
        record: The served versions, as of the last step.
    """

    def __init__(self, settings: Settings, listener: ProgressListener | None = None) -> None:
        """Does not connect yet.

        Args:
            settings: The folders, the servers' addresses, and the settings of profiles.
            listener: Is told of each step, until it raises. None: no listener.
        """
        self._settings = settings
        self._listener = Guarded(listener or Silent())
        self._writer: VersionWriter | None = None
        self.record = ServedVersions()

    async def __aenter__(self) -> Self:
        """Replaces any other publisher, and reads the record of served versions. Raises TopicsError."""
        self._writer = await VersionWriter.begin(self._settings.kafka)
        try:
            self.record = await read_versions(self._settings.kafka)
        except BaseException:
            await self._writer.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connection."""
        if self._writer is not None:
            await self._writer.close()

    @property
    def live(self) -> list[int]:
        """Versions that are live, the older one first."""
        return [each.version for each in (self.record.base, self.record.next) if each.version]

    async def prepare(self, folder: Path, *, force: bool) -> int:
        """Makes the version of a bundle live. It answers no users yet.

        Args:
            folder: The bundle.
            force: Goes on even if another version is a canary, or if profiles are still moving.

        Returns:
            The version.

        Raises:
            RolloutError: The step does not fit the served versions, the bundle does not fit this installation, or
                Triton does not serve the version.
        """
        bundle, record = self._published(folder, force=force)
        changed = record != self.record
        if changed and self.record.share == 1 and transitions.retiring(self.record) and not force:
            await self._check_migrated()
        await self._load(bundle)
        if changed:
            if gone := transitions.retiring(self.record):
                self._listener.message(f"version {gone} is retired")
            await self._write(record)
        version = bundle.manifest.version
        others = ", ".join(str(each) for each in self.live if each != version)
        self._listener.message(
            f"version {version} is live" + (f", beside version {others}" if others else "")
        )
        return version

    async def publish_first(self, folder: Path) -> None:
        """Publishes the first version of an installation. It answers all users at once. Raises like `prepare`."""
        bundle, record = self._published(folder, force=False)
        await self._load(bundle)
        await self._write(transitions.with_share(record, 1, {}))

    async def set_share(self, share: float) -> None:
        """Waits until all item vectors of the newer version exist, and gives it a share of the users.

        Args:
            share: The share, 0 to 1.

        Raises:
            TransitionRefused: No version is published.
            PublisherReplaced: Another publisher has started.
            TopicsError, KafkaError: Kafka does not answer.
        """
        wanted = transitions.with_share(self.record, share, {})
        ends = await self._vector_ends(wanted.next)
        await self._write(transitions.with_share(self.record, share, ends))
        self._listener.message(f"version {wanted.next.version} answers {wanted.share:.0%} of the users")

    async def roll_back(self) -> None:
        """Lets the older version answer all users, at once. Raises TransitionRefused, PublisherReplaced."""
        record = transitions.rolled_back(self.record)
        await self._write(record)
        self._listener.message(
            f"version {record.base.version} answers all users; version {record.next.version} is live and answers none"
        )

    async def retire(self, *, force: bool) -> None:
        """Drops the version that answers no users. `force`: even if profiles are still moving. Raises RolloutError."""
        record = transitions.retired(self.record)
        if record != self.record:
            if self.record.share == 1 and not force:
                await self._check_migrated()
            self._listener.message(f"version {transitions.retiring(self.record)} is retired")
            await self._write(record)

    async def clean_up(self) -> Leftovers:
        """Removes and returns the leftovers of versions that are not live. Raises CleanupIncomplete, TopicsError."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._listener.progress(CLEANUP, done, None)

        found = await clean_up(self._settings, self.live, advance)
        self._listener.progress(CLEANUP, done, done)
        if found:
            self._listener.message(f"removed {found}")
        return found

    async def wait_migrated(self) -> None:
        """Waits until every profile has moved to its target version. Raises StoreUnavailable."""
        stalled = _StallWarning(
            self._listener.message,
            "profiles do not move: check that `recstream ingest` runs with the role interactions",
        )
        store = await ProfileStore.connect(self._settings.store)
        try:
            while True:
                began = time.monotonic()
                found = await migration_progress(store, routing_of(self.record))
                self._listener.progress(MIGRATION, found.profiles - found.remaining, found.profiles)
                if not found.remaining:
                    return
                stalled.update(found.remaining)
                # Reading every profile is expensive, so half of the store's time is left to others.
                await asyncio.sleep(max(_POLL_SECONDS, time.monotonic() - began))
        finally:
            await store.close()

    async def migration_progress(self) -> MigrationProgress:
        """Returns how many profiles have moved. Raises StoreUnavailable."""
        store = await ProfileStore.connect(self._settings.store)
        try:
            return await migration_progress(store, routing_of(self.record))
        finally:
            await store.close()

    def _published(self, folder: Path, *, force: bool) -> tuple[Bundle, ServedVersions]:
        """Returns the bundle, and the record in which its version is live."""
        bundle = checked_bundle(folder, self._settings)
        raw = (folder / MANIFEST).read_bytes()
        now_ms = int(time.time() * 1000)
        return bundle, transitions.published(self.record, bundle.manifest, raw, now_ms, force=force)

    async def _check_migrated(self) -> None:
        if remaining := (await self.migration_progress()).remaining:
            raise TransitionRefused(
                f"{remaining:,} profiles have not moved to version {self.record.next.version} yet",
                "wait (`recstream model list` shows how many remain), or use --force: they are then folded when they "
                "are read next",
            )

    async def _load(self, bundle: Bundle) -> None:
        """Stores, installs, loads and tests the version. If it does not answer, it is unloaded again."""
        settings, version = self._settings, bundle.manifest.version
        bundle = await asyncio.to_thread(store_bundle, bundle, settings.bundles)
        try:
            if settings.repository is not None:
                await asyncio.to_thread(install, bundle, settings.repository)
                await load(settings.triton)
            model = TritonModel(settings.triton, [bundle.manifest])
            try:
                await smoke_test(model, bundle, timeout=_SMOKE_TEST_SECONDS)
            finally:
                await model.close()
        except (InstallFailed, ModelUnavailable) as error:
            if version not in self.live:
                await self._unload()
            next_step = "older versions are still served; publish again when Triton works"
            if settings.repository is None:
                address = settings.triton.address
                next_step = f"install it into the repository of the Triton at {address}, or set `repository`"
            raise VersionNotLoaded(f"Triton does not serve version {version}: {error}", next_step) from error

    async def _unload(self) -> None:
        repository = self._settings.repository
        if repository is None or not self.live:
            return
        try:
            await load(self._settings.triton, restrict(repository, self.live))
            sweep(repository)
        except InstallFailed as error:
            self._listener.message(f"the files of the version stay in {repository} for now: {error}")

    async def _vector_ends(self, live: ServedVersion) -> dict[int, int]:
        """Waits until the catalogue workers have handled all items. Returns the end offsets of the vectors' topic."""
        kafka = self._settings.kafka
        topic_id = (await topic_ids(kafka, [kafka.topics.items]))[kafka.topics.items]
        group = catalogue_group(kafka, live.version, live.published_at_ms, topic_id)
        stalled = _StallWarning(
            self._listener.message,
            "no item vectors are computed: check that `recstream ingest` runs with the role catalogue",
        )
        total = 0
        while behind := await group_lag(kafka, group, kafka.topics.items):
            total = max(total, behind)
            self._listener.progress(EMBEDDING, total - behind, total)
            stalled.update(behind)
            await asyncio.sleep(_POLL_SECONDS)
        self._listener.progress(EMBEDDING, total, total)
        async with reader(kafka) as consumer:
            partitions = await partitions_of(kafka, kafka.topics.item_vectors)
            return {tp.partition: end for tp, end in (await consumer.end_offsets(partitions)).items()}

    async def _write(self, record: ServedVersions) -> None:
        assert self._writer is not None
        try:
            await self._writer.write(record)
        except ProducerFenced as error:
            raise PublisherReplaced(
                "another `recstream model` command has taken over", "see `recstream model list`"
            ) from error
        self.record = record


class _StallWarning:
    """Warns once when a number has not changed for a while."""

    def __init__(self, warn: Callable[[str], None], text: str) -> None:
        self._warn = warn
        self._text = text
        self._last = -1
        self._since = time.monotonic()

    def update(self, number: int) -> None:
        """Takes the current number."""
        if number != self._last:
            self._last, self._since = number, time.monotonic()
        elif self._text and time.monotonic() - self._since > _STALLED_SECONDS:
            self._warn(self._text)
            self._text = ""


def checked_bundle(folder: Path, settings: Settings) -> Bundle:
    """Reads a bundle and checks that this installation can serve it. Raises BundleUnfit with the reason."""
    try:
        bundle = read(folder)
        check_compatible(bundle.manifest, settings.profiles)
    except BundleRefused as error:
        raise BundleUnfit(
            str(error), "the served versions stay as they are; `recstream train` makes a bundle"
        ) from error
    except BundleIncompatible as error:
        raise BundleUnfit(str(error)) from error
    return bundle
