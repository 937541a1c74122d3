"""From a batch's records to written profiles: read, fold, model, write, until every write was accepted.

What this process wrote a moment ago is remembered instead of read: one hop to the store less before it counts."""

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

# Decoding and folding are plain computing: after so many users the loop turns once, for heartbeats and probes.
_USERS_A_TURN = 32
_NOBODY: Mapping[str, str] = MappingProxyType({})


class Behind(Protocol):
    """Who is told of states that have to be refolded later."""

    def note(self, profile: Profile) -> None:
        """The profile as it was written has a stale state, or none."""


@dataclass(frozen=True, slots=True)
class _Base:
    """What a user's records are folded onto; `remembered`: as it was written, and not as it is in the store now."""

    stored: Stored | None
    remembered: bool


@dataclass(frozen=True, slots=True)
class _Change:
    user_id: str
    revision: int
    folded: Folded


class Apply:
    """Applies records to the profiles of their users. `identity` is the store that they are applied to."""

    def __init__(
        self,
        store: ProfileStore,
        states: ModelStates,
        behind: Behind,
        profile_settings: ProfileSettings,
        settings: IngestSettings,
    ) -> None:
        self._store = store
        self._states = states
        self._behind = behind
        self._profile_settings = profile_settings
        self._settings = settings
        self._recent = RecentProfiles(settings.profile_cache_size)

    def clear_cache(self) -> None:
        """Reads every profile anew: partitions have moved, so that others may have written them meanwhile."""
        self._recent.clear()

    async def __call__(
        self,
        records: Mapping[str, Sequence[Record]],
        identity: str,
        traceparents: Mapping[str, str] = _NOBODY,
    ) -> None:
        """Returns when the store has acknowledged every record, by user. `traceparents`: those that the announcements
        of some users carry.

        Raises StoreDown and WritesRefused, upon which all may be applied again: what was written is dropped by
        its watermark then. Raises StoreChanged, before anything is written, when the store is not the one that
        `identity` names: a profile that it lost must not get a watermark past what is missing.
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
        """The users whose profile was not what it was taken for: to be read, and folded again."""
        bases = await self._bases(records)
        # Beside the rest, it costs no time. Not before the read is over: what was read came from the store that
        # is named then, or from the one before, whose revisions the fence compares. What is remembered was
        # accepted by one or the other, too.
        named = asyncio.create_task(self._store.identity())
        try:
            changes, outdated = await self._fold(bases, records)
            with metrics.STAGE["model"].time():
                budget = self._settings.model_budget_ms / 1000
                profiles = await self._states.update([c.folded for c in changes], timeout=budget)
            tails = await self._tails(changes)
            if (now := await named) != identity:
                raise StoreChanged(now)
        finally:
            named.cancel()
            if named.done() and not named.cancelled():
                named.exception()  # has been seen
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
                self._behind.note(write.profile)  # who is told of it writes the profile soon
            else:
                self._recent.keep(write.user_id, write.value)
        metrics.WRITES_REFUSED.inc(len(refused))
        return refused + outdated

    async def _bases(self, users: Iterable[str]) -> dict[str, _Base]:
        """What is remembered of the users, and of the others what is in the store."""
        bases = {}
        others = []
        for place, user_id in enumerate(users):
            if place and place % _USERS_A_TURN == 0:
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
        """The changes; and the users whose remembered profile has all the records already. Only the store may
        say so, for then nothing is written, and no fence would notice that the profile is gone."""
        started = time.perf_counter()
        changes = []
        outdated = []
        for place, (user_id, found) in enumerate(bases.items()):
            if place and place % _USERS_A_TURN == 0:
                await asyncio.sleep(0)
            before = found.stored
            base = before.profile if before is not None else None
            folded = fold(base, user_id, records[user_id], self._profile_settings)
            if base is not None and folded.profile.watermarks == base.watermarks:
                if found.remembered:
                    outdated.append(user_id)
                else:
                    _count(folded)
                continue
            changes.append(_Change(user_id, before.revision if before is not None else 0, folded))
        metrics.STAGE["fold"].observe(time.perf_counter() - started)
        return changes, outdated

    async def _tails(self, changes: Sequence[_Change]) -> dict[str, Tail]:
        """The new tails of those whose tail grows. A tail changes with its profile's revision only, so that the
        fence on the profile guards it as well."""
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
    """A step of traced events: a command to the store for so many profiles."""
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
