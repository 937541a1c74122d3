"""The sweeper refolds stale states, and migrates profiles to a new model version.

A state is stale if the model did not answer, or if an item had no vector yet."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

import structlog

from inference.model import ModelUnavailable
from ingest import metrics
from ingest.profiles.states import ModelStates
from ingest.settings import IngestSettings
from profiles.errors import StoreUnavailable
from profiles.profile import Profile, Stored
from profiles.store.store import ProfileStore, Write
from telemetry.faults import hold_back

log = structlog.get_logger()

_SCAN_BATCH = 256
_SCAN_SECONDS = 60.0
_ITEMS_PER_CHECK = 500
_FAILED_WAIT_SECONDS = 1.0
# A fault that more users than these meet, and all of them, is no matter of single users.
_FEW_USERS = 3
# What comes and goes with the servers around us.
_PASSING = (StoreUnavailable, ModelUnavailable)


class Sweeper:
    """Remembers up to `stale_users` users with stale states. It scans the store at the start, and when there are more.

    A user is either due, and is refolded as soon as the model answers, or waits for an item that has no vector. A state
    that stays stale for another reason, such as numbers that are not finite or a fault of ours, is left until the
    user's next event or the next scan.
    """

    def __init__(self, store: ProfileStore, states: ModelStates, settings: IngestSettings) -> None:
        self._store = store
        self._states = states
        self._settings = settings
        self._due: OrderedDict[str, None] = OrderedDict()
        self._waiting: OrderedDict[str, set[str]] = OrderedDict()
        self._waiting_users = 0
        self._scan = True
        self._scanned_at = 0.0
        self._waiting_overflow = False
        self._wake = asyncio.Event()

    def rescan(self) -> None:
        """Requests a scan of the store, because the live versions have changed."""
        self._scan = True
        self._wake.set()

    def enqueue(self, profile: Profile) -> None:
        """Adds a profile that was written with a stale state, or without a state."""
        missing = self._states.items_without_vector(profile)
        full = len(self._due) + self._waiting_users >= self._settings.stale_users
        if not missing:
            if full:
                self._scan = True
            else:
                self._due[profile.user_id] = None
            self._wake.set()
        elif full:
            self._waiting_overflow = True
        else:
            users = self._waiting.setdefault(min(missing), set())
            self._waiting_users += profile.user_id not in users
            users.add(profile.user_id)
            self._wake.set()
        metrics.STALE_USERS.set(len(self._due) + self._waiting_users)

    async def run(self) -> None:
        """Runs until it is cancelled. It waits out failures of the store and of the model.

        If it is called again after another failure, it continues with the users that are still due.
        """
        while True:
            if not (self._scan or self._due or self._waiting):
                await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._settings.sweep_interval_ms / 1000)
            try:
                await self._sweep()
            except _PASSING as error:
                log.debug("sweep_waits", cause=repr(error))
                await asyncio.sleep(_FAILED_WAIT_SECONDS)

    async def _sweep(self) -> None:
        self._check_waiting()
        if not (self._scan or self._due) or not await self._states.ready():
            return
        if self._scan:
            self._scan = self._waiting_overflow = False
            self._scanned_at = time.monotonic()
            try:
                await self._scan_store()
            except BaseException:
                self._scan = True
                raise
            metrics.MIGRATING.set(0)
        while self._due:
            await self._refold(_first(self._due, self._settings.sweep_batch))
        metrics.STALE_USERS.set(len(self._due) + self._waiting_users)

    def _check_waiting(self) -> None:
        """Checks whether items that users wait for have vectors now. A call checks a part of them, in turn, and takes a
        few milliseconds at most."""
        arrived = False
        for item in _first(self._waiting, _ITEMS_PER_CHECK):
            if self._states.has_vector(item):
                users = self._waiting.pop(item)
                self._waiting_users -= len(users)
                self._due.update(dict.fromkeys(users))
                arrived = True
            else:
                self._waiting.move_to_end(item)
        if arrived and self._waiting_overflow and time.monotonic() - self._scanned_at > _SCAN_SECONDS:
            self._scan = True

    async def _scan_store(self) -> None:
        batch: list[str] = []
        async for user_id in self._store.scan():
            batch.append(user_id)
            if len(batch) == _SCAN_BATCH:
                await self._sweep_batch(batch)
                batch = []
        await self._sweep_batch(batch)

    async def _sweep_batch(self, users: list[str]) -> None:
        """Refolds the stale states of the batch at once, so that a scan has to remember no users."""
        stored = await self._store.read(users) if users else []
        stale = [s.profile.user_id for s in stored if s is not None and self._states.is_stale(s.profile)]
        if any(s is not None and self._states.lacks_state(s.profile) for s in stored):
            metrics.MIGRATING.set(1)
        for start in range(0, len(stale), self._settings.sweep_batch):
            began = time.monotonic()
            await self._refold(stale[start : start + self._settings.sweep_batch])
            # Leaves half of the model's time to its other callers.
            await asyncio.sleep(time.monotonic() - began)

    async def _refold(self, users: list[str]) -> int:
        """Refolds the users' stale states. Returns how many met a fault of ours, and stay as they are."""
        stored = [
            s for s in await self._store.read(users) if s is not None and self._states.is_stale(s.profile)
        ]
        for user_id in users:
            self._due.pop(user_id, None)
        if not stored:
            return 0
        # Profiles that would stay stale wait without a call to the model, unless they lack the new version's state.
        foldable: list[Stored] = []
        for s in stored:
            if self._states.lacks_state(s.profile) or not self._states.items_without_vector(s.profile):
                foldable.append(s)
            else:
                self.enqueue(s.profile)
        if not foldable:
            return 0
        try:
            timeout = self._settings.sweep_timeout_ms / 1000
            profiles = await self._states.refold([s.profile for s in foldable], timeout=timeout)
            writes = [
                # Not quiet: a slate that was made from the stale state is out of date.
                Write(s.profile.user_id, s.revision, profile)
                for s, profile in zip(foldable, profiles, strict=True)
            ]
            accepted = await self._store.write(writes)
        except BaseException as error:
            due = [s.profile.user_id for s in foldable]
            self._due.update(dict.fromkeys(due))
            if isinstance(error, _PASSING) or not isinstance(error, Exception):
                raise
            return await self._find_fault(due, error)
        for s, write, done in zip(foldable, writes, accepted, strict=True):
            if (
                not done
            ):  # An event came in between. Either it has refolded the state, or the next sweep does.
                self._due[write.user_id] = None
                continue
            metrics.MIGRATED.inc(self._states.lacks_state(s.profile))
            if self._states.items_without_vector(write.profile):
                self.enqueue(write.profile)
        metrics.REFOLDED.inc(sum(accepted))
        return 0

    async def _find_fault(self, users: list[str], error: Exception) -> int:
        """Refolds users one by one after a fault of ours, so that the one that meets it does not hold the others up.

        Returns:
            How many met it.

        Raises:
            Exception: The fault, if it is not a matter of single users.
        """
        if len(users) == 1:
            self._due.pop(users[0], None)
            hold_back("model-state", error, user_id=users[0])
            return 1
        faults = sum([await self._refold([user_id]) for user_id in users])
        if faults == len(users) > _FEW_USERS:
            raise error
        return faults


def _first(names: Iterable[str], count: int) -> list[str]:
    return list(islice(names, count))
