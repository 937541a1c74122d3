"""Publishing, step by step. Each step can be done again; what was served before is served until the flip.

The bundle is kept by version and put into Triton's repository; Triton loads it beside the version before and answers a
trial; the record makes it live; the catalogue workers compute its item vectors; then the record gives it users, and
whoever has read the vectors goes by it; ingest moves the profiles; what is retired is cleared away.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka.errors import KafkaError, ProducerFenced
from rich.console import Console
from rich.progress import Progress, TaskID

from catalog.version_watcher import ServedWriter, read_served
from configuration.errors import CommandError
from configuration.settings import Settings
from inference.bundle.bundle import MANIFEST, Bundle, read
from inference.errors import BundleRefused, InstallFailed
from inference.model import ModelUnavailable
from inference.repository.repository import install, load, restrict, sweep
from inference.smoke_test import trial
from inference.triton import TritonModel
from inference.version_routing import pointer_of
from ingest.consuming.groups import catalogue_group
from ingest.consuming.offsets import partitions_of, reader
from ingest.errors import BundleIncompatible
from ingest.profiles.bundle_check import check_compatible
from profiles.store.store import ProfileStore
from recstream.storage.v1.model_pb2 import ServedVersion, ServedVersions
from rollout import transitions
from rollout.cleanup import Leftovers, clear
from rollout.consumer_lag import lag
from rollout.migration_progress import Movement, movement
from rollout.paths import keep
from topics.ids import topic_ids

_TRIAL_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_STALLED_SECONDS = 20.0


class Publisher:
    """One at a time for an installation: who begins later takes over. Use as a context."""

    def __init__(self, settings: Settings, console: Console, progress: Progress) -> None:
        self._settings = settings
        self._console = console
        self._progress = progress
        self._writer: ServedWriter | None = None
        self.record = ServedVersions()

    async def __aenter__(self) -> "Publisher":
        """Takes over, and reads what is served. Raises TopicsError, BadRecord."""
        self._writer = await ServedWriter.begin(self._settings.kafka)
        try:
            self.record = await read_served(self._settings.kafka)
        except BaseException:
            await self._writer.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends the connection."""
        if self._writer is not None:
            await self._writer.close()

    @property
    def live(self) -> list[int]:
        """The versions that are live."""
        return [each.version for each in (self.record.base, self.record.next) if each.version]

    async def prepare(self, folder: Path, *, force: bool) -> int:
        """Up to where the version is live and answers nobody yet; returns it. Raises CommandError."""
        bundle = checked(folder, self._settings)
        raw = (folder / MANIFEST).read_bytes()
        record = transitions.prepared(self.record, bundle.manifest, raw, int(time.time() * 1000), force=force)
        version = bundle.manifest.version
        if (
            record != self.record
            and self.record.share == 1
            and transitions.retires(self.record)
            and not force
        ):
            await self._check_moved()
        bundle = await asyncio.to_thread(keep, bundle, self._settings.bundles)
        await self._into_triton(bundle)
        if record != self.record:
            if gone := transitions.retires(self.record):
                self._say(f"version {gone} is retired")
            await self._write(record)
        self._say(
            f"version {version} is live beside {', '.join(str(v) for v in self.live if v != version) or 'none'}"
        )
        return version

    async def first(self, folder: Path) -> None:
        """A version of an installation that has none answers at once: nothing is there to go on before."""
        bundle = await asyncio.to_thread(keep, checked(folder, self._settings), self._settings.bundles)
        await self._into_triton(bundle)
        raw = (folder / MANIFEST).read_bytes()
        record = transitions.prepared(self.record, bundle.manifest, raw, int(time.time() * 1000), force=False)
        await self._write(transitions.shared(record, 1, {}))

    async def share(self, share: float) -> None:
        """Gives `next` this share of the users, as soon as all its item vectors are there. Raises CommandError."""
        wanted = transitions.shared(self.record, share, {})
        ends = await self._vectors(wanted.next)
        await self._write(transitions.shared(self.record, share, ends))
        self._say(f"version {wanted.next.version} answers {wanted.share:.0%} of the users")

    async def roll_back(self) -> None:
        """`base` answers everybody, at once. Raises CommandError."""
        record = transitions.rolled_back(self.record)
        await self._write(record)
        self._say(
            f"version {record.base.version} answers everybody; {record.next.version} stays, answering nobody"
        )

    async def retire(self, *, force: bool) -> None:
        """The version that answers nobody goes. Raises CommandError."""
        record = transitions.alone(self.record)
        if record != self.record:
            if self.record.share == 1 and not force:
                await self._check_moved()
            self._say(f"version {transitions.retires(self.record)} is retired")
            await self._write(record)

    async def clear(self) -> Leftovers:
        """Removes what is not live. Raises CommandError."""
        task = self._progress.add_task("Removing what is retired", total=None)
        try:
            found = await clear(self._settings, self.live, lambda count: self._progress.advance(task, count))
        except (InstallFailed, KafkaError, OSError) as error:
            raise CommandError(
                f"what is retired could not all be removed: {error}", "`recstream model retire` tries again"
            ) from error
        finally:
            self._progress.remove_task(task)
        if found:
            self._say(f"removed {found}")
        return found

    async def moved(self) -> None:
        """Waits until every profile has moved to the version that is to answer it. Raises StoreUnavailable."""
        task = self._progress.add_task("Moving profiles", total=None)
        said = _Stalled(
            self._say, "profiles do not move: is `recstream ingest` running, with the role interactions?"
        )
        store = await ProfileStore.connect(self._settings.store)
        try:
            while True:
                began = time.monotonic()
                found = await movement(store, pointer_of(self.record))
                self._show(task, found.profiles - found.left, found.profiles)
                if not found.left:
                    return
                said.look(found.left)
                await asyncio.sleep(max(_LOOK_SECONDS, time.monotonic() - began))
        finally:
            await store.close()

    async def movement(self) -> Movement:
        """Who stands where now. Raises StoreUnavailable."""
        store = await ProfileStore.connect(self._settings.store)
        try:
            return await movement(store, pointer_of(self.record))
        finally:
            await store.close()

    async def _check_moved(self) -> None:
        if left := (await self.movement()).left:
            raise CommandError(
                f"{left:,} profiles have yet to move to version {self.record.next.version}",
                "wait for it (`recstream model list` tells how far it is); --force goes on, and they are folded "
                "when they are read",
            )

    async def _into_triton(self, bundle: Bundle) -> None:
        """Loaded beside what is there, and tried. What does not answer is taken out again."""
        settings, version = self._settings, bundle.manifest.version
        try:
            if settings.repository is not None:
                await asyncio.to_thread(install, bundle, settings.repository)
                await load(settings.triton)
            model = TritonModel(settings.triton, [bundle.manifest])
            try:
                await trial(model, bundle, timeout=_TRIAL_SECONDS)
            finally:
                await model.close()
        except (InstallFailed, ModelUnavailable) as error:
            if version not in self.live:
                await self._out_of_triton()
            what_next = "the versions before serve on; when Triton is well, publish again"
            if settings.repository is None:
                address = settings.triton.address
                what_next = f"put it into the repository of the Triton at {address}, or set `repository`"
            raise CommandError(f"Triton does not serve version {version}: {error}", what_next) from error

    async def _out_of_triton(self) -> None:
        repository = self._settings.repository
        if repository is None or not self.live:
            return
        try:
            await load(self._settings.triton, restrict(repository, self.live))
            sweep(repository)
        except InstallFailed as error:
            self._say(f"what was put into {repository} stays for now: {error}")

    async def _vectors(self, live: ServedVersion) -> dict[int, int]:
        """Waits until the catalogue workers have been through all items; then the end offsets of the vectors."""
        kafka = self._settings.kafka
        topic_id = (await topic_ids(kafka, [kafka.topics.items]))[kafka.topics.items]
        group = catalogue_group(kafka, live.version, live.published_at_ms, topic_id)
        task = self._progress.add_task("Computing item vectors", total=None)
        said = _Stalled(self._say, "no vectors come: is `recstream ingest` running, with the role catalogue?")
        most = 0
        while left := await lag(kafka, group, kafka.topics.items):
            most = max(most, left)
            self._show(task, most - left, most)
            said.look(left)
            await asyncio.sleep(_LOOK_SECONDS)
        self._show(task, most, most)
        async with reader(kafka) as consumer:
            partitions = await partitions_of(kafka, kafka.topics.item_vectors)
            return {tp.partition: end for tp, end in (await consumer.end_offsets(partitions)).items()}

    async def _write(self, record: ServedVersions) -> None:
        assert self._writer is not None
        try:
            await self._writer.write(record)
        except ProducerFenced as error:
            raise CommandError(
                "another `recstream model` command has taken over", "look at `recstream model list`"
            ) from error
        self.record = record

    def _show(self, task: TaskID, done: int, total: int) -> None:
        self._progress.update(task, completed=done or (not total), total=total or 1)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


class _Stalled:
    """Says once what may be wrong when a number has not changed for a while."""

    def __init__(self, say: Callable[[str], None], text: str) -> None:
        self._say = say
        self._text = text
        self._last = -1
        self._since = time.monotonic()

    def look(self, number: int) -> None:
        """The number now."""
        if number != self._last:
            self._last, self._since = number, time.monotonic()
        elif self._text and time.monotonic() - self._since > _STALLED_SECONDS:
            self._say(self._text)
            self._text = ""


def checked(folder: Path, settings: Settings) -> Bundle:
    """The bundle, fit for this installation. Raises CommandError, naming what does not fit."""
    try:
        bundle = read(folder)
        check_compatible(bundle.manifest, settings.profiles)
    except BundleRefused as error:
        raise CommandError(
            str(error), "what is served stays as it is; `recstream train` makes a bundle"
        ) from error
    except BundleIncompatible as error:
        raise CommandError(str(error)) from error
    return bundle
