"""Applies a batch's records to profiles: read, fold, model, write, until the fence has accepted every write.

Profiles that this process wrote last come from a cache, which saves a round trip to the store."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from ingest import metrics
from ingest.errors import StoreChanged, StoreDown, WritesRefused
from ingest.profiles.recent_profiles import RecentProfiles
from ingest.profiles.states import ModelStates
from ingest.settings import IngestSettings
from profiles.actions import ProfileSettings
from profiles.errors import StoreUnavailable
from profiles.folding.events import Record
from profiles.folding.fold import Folded, fold
from profiles.folding.tail import Tail
from profiles.profile import Profile, Stored
from profiles.store.store import ProfileStore, Write
from telemetry.tracing.spans import SpanKind, child

# Decoding and folding block the event loop. After this many users they yield to heartbeats and probes.
_USERS_PER_TURN = 32
_UNTRACED: Mapping[str, str] = MappingProxyType({})


class RefoldQueue(Protocol):
    """Takes the profiles whose states have to be refolded later."""

    def enqueue(self, profile: Profile) -> None:
        """Adds a profile, as it was written, whose state is stale or missing."""


@dataclass(frozen=True, slots=True)
class _Base:
    """What a user's records are folded onto.

    Attributes:
        stored: The stored profile; None if the user has none.
        cached: Whether it comes from the cache rather than from the store.
    """

    stored: Stored | None
    cached: bool


@dataclass(frozen=True, slots=True)
class _Change:
    user_id: str
    revision: int
    folded: Folded


class Apply:
    """Applies records to the profiles of their users.

    Args:
        store: Holds the profiles.
        states: Brings model states up to date.
        refolds: Gets the profiles whose states stay stale.
        profile_settings: The settings of profiles.
        settings: The settings of ingest.
    """

    def __init__(
        self,
        store: ProfileStore,
        states: ModelStates,
        refolds: RefoldQueue,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
    ) -> None:
        self._store = store
        self._states = states
        self._refolds = refolds
        self._profile_settings = profile_settings
        self._settings = settings
        self._recent = RecentProfiles(settings.profile_cache_size)

    def clear_cache(self) -> None:
        """Empties the cache, because partitions have moved and other processes may have written the profiles."""
        self._recent.clear()

    async def __call__(
        self,
        records: Mapping[str, Sequence[Record]],
        identity: str,
        traceparents: Mapping[str, str] = _UNTRACED,
    ) -> None:
        """Applies the records, and returns once the store has acknowledged all writes.

        After an error all records may be applied again, since watermarks drop those that were written.

        Args:
            records: Records by user, in log order within each partition.
            identity: The store that the records are applied to.
            traceparents: W3C trace parents for the announcements, by user.

        Raises:
            StoreDown: The store does not answer.
            WritesRefused: Other writers were faster, `write_attempts` times in a row.
            StoreChanged: The store is not the one that `identity` names. Nothing was written, since a profile that the
                store lost must not get a watermark past the missing records.
        """
        try:
            pending = dict(records)
            for _ in range(self._settings.write_attempts):
                refused = await self._once(pending, identity, traceparents)
                if not refused:
                    return
                pending = {user_id: pending[user_id] for user_id in refused}
            raise WritesRefused(len(pending), self._settings.write_attempts)
        except StoreUnavailable as error:
            raise StoreDown(str(error)) from error
        except StoreChanged:
            self.clear_cache()
            raise

    async def _once(
        self, records: Mapping[str, Sequence[Record]], identity: str, traceparents: Mapping[str, str]
    ) -> list[str]:
        """Makes one attempt. Returns the users whose profile has changed meanwhile and has to be read again."""
        bases = await self._bases(records)
        # This runs while the model works, so it costs no time. It begins after the read. So the profiles came from the
        # store that answers now, or from an earlier one, and then the fence on their revisions catches a difference.
        # The same holds for cached profiles, which one of these stores accepted.
        identifying = asyncio.create_task(self._store.identity())
        try:
            changes, outdated = await self._fold(bases, records)
            with metrics.STAGE["model"].time():
                budget = self._settings.model_budget_ms / 1000
                profiles = await self._states.update([c.folded for c in changes], timeout=budget)
            tails = await self._tails(changes)
            if (now := await identifying) != identity:
                raise StoreChanged(now)
        finally:
            identifying.cancel()
            if identifying.done() and not identifying.cancelled():
                identifying.exception()  # Marks it as retrieved.
        if not changes:
            return outdated
        writes = [
            self._write(change, profile, tails.get(change.user_id), traceparents.get(change.user_id, ""))
            for change, profile in zip(changes, profiles, strict=True)
        ]
        with metrics.STAGE["write"].time(), _valkey("EVALSHA", len(writes)):
            accepted = await self._store.write(writes)
        refused = []
        for change, write, done in zip(changes, writes, accepted, strict=True):
            if not done:
                refused.append(change.user_id)
                continue
            _count(change.folded)
            if self._states.is_stale(write.profile):
                self._refolds.enqueue(write.profile)  # Not cached: the sweeper writes it again soon.
            else:
                self._recent.keep(write.user_id, write.value)
        metrics.WRITES_REFUSED.inc(len(refused))
        return refused + outdated

    async def _bases(self, users: Iterable[str]) -> dict[str, _Base]:
        """Returns the profile of each user, from the cache or from the store."""
        bases = {}
        others = []
        for index, user_id in enumerate(users):
            if index and index % _USERS_PER_TURN == 0:
                await asyncio.sleep(0)
            if (kept := self._recent.take(user_id)) is not None:
                bases[user_id] = _Base(kept, True)
            else:
                others.append(user_id)
        metrics.PROFILES_FROM["cache"].inc(len(bases))
        if others:
            with metrics.STAGE["read"].time(), _valkey("GET", len(others)):
                read = await self._store.read(others)
            bases |= {u: _Base(stored, False) for u, stored in zip(others, read, strict=True)}
            metrics.PROFILES_FROM["store"].inc(len(others))
        return bases

    async def _fold(
        self, bases: Mapping[str, _Base], records: Mapping[str, Sequence[Record]]
    ) -> tuple[list[_Change], list[str]]:
        """Returns the changes, and the users whose cached profile already has all the records.

        Those have to be read from the store. Nothing would be written for them, so no fence would notice if the store
        has lost the profile.
        """
        started = time.perf_counter()
        changes = []
        outdated = []
        for index, (user_id, found) in enumerate(bases.items()):
            if index and index % _USERS_PER_TURN == 0:
                await asyncio.sleep(0)
            before = found.stored
            base = before.profile if before is not None else None
            folded = fold(base, user_id, records[user_id], self._profile_settings)
            if base is not None and folded.profile.watermarks == base.watermarks:
                if found.cached:
                    outdated.append(user_id)
                else:
                    _count(folded)
                continue
            changes.append(_Change(user_id, before.revision if before is not None else 0, folded))
        metrics.STAGE["fold"].observe(time.perf_counter() - started)
        return changes, outdated

    async def _tails(self, changes: Sequence[_Change]) -> dict[str, Tail]:
        """Returns the new tails of users whose tail grows. A tail changes only with its profile's revision, so the
        profile's fence guards it as well."""
        grown = [change for change in changes if change.folded.tail_added]
        if not grown:
            return {}
        there = await self._store.read_tails([change.user_id for change in grown])
        return {
            change.user_id: (Tail() if change.folded.erased or tail is None else tail).add(
                change.folded.tail_added, self._profile_settings.tail
            )
            for change, tail in zip(grown, there, strict=True)
        }

    def _write(self, change: _Change, profile: Profile, tail: Tail | None, traceparent: str) -> Write:
        folded = change.folded
        return Write(
            user_id=change.user_id,
            base_revision=change.revision,
            profile=replace(profile, has_tail=folded.profile.has_tail),
            tail=tail,
            delete_tail=folded.erased and tail is None,
            quiet=folded.quiet,
            applied=folded.applied,
            traceparent=traceparent,
        )


def _valkey(operation: str, profiles: int) -> AbstractContextManager[object]:
    """Opens a span of the traced events, for a command to the store that covers so many profiles."""
    attributes: dict[str, str | int | float | bool] = {
        "db.system.name": "valkey",
        "db.operation.name": operation,
        "db.operation.batch.size": profiles,
    }
    return child(f"{operation} profiles", SpanKind.CLIENT, attributes)


def _count(folded: Folded) -> None:
    metrics.RECORDS_OF["applied"].inc(len(folded.applied))
    metrics.RECORDS_OF["no_effect"].inc(folded.count - len(folded.applied))
    metrics.RECORDS_OF["duplicate"].inc(folded.dropped)
