"""Hydration: from a request and a stored profile to the whole question."""

import asyncio
from collections.abc import Callable, Iterable

import numpy as np
import structlog

from catalog.in_memory import InMemoryCatalog
from inference.bundle.bundle import Manifest
from inference.histories import idle_seconds
from inference.model import ModelUnavailable
from inference.refold import states_of
from inference.version_routing import Pointer
from profiles.actions import Actions, ProfileSettings
from profiles.folding.history import consumed, model_history, positives
from profiles.folding.tail import Tail
from profiles.profile import Entry, ModelState, Profile, Stored
from ranking import metrics
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls
from ranking.deadline.faults import log_fault
from ranking.hydration.history_encoder import Fold, Folds
from ranking.query import Query, Rows, User
from ranking.request import ListRequest
from ranking.settings import SurfaceSettings
from ranking.slate.item_hashes import ItemHashes

log = structlog.get_logger()


class Hydrator:
    """Looks up what the stages need: what the user has taken, what he liked last, and the model's state
    of him."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        folds: Folds,
        calls: Calls,
        pointer: Callable[[], Pointer],
        profiles: ProfileSettings,
    ) -> None:
        self._catalog = catalog
        self._folds = folds
        self._calls = calls
        self._pointer = pointer
        self._profiles = profiles
        self._actions = Actions(profiles.actions)
        self._hashes = ItemHashes(catalog)

    async def hydrate(
        self,
        request: ListRequest,
        stored: Stored | None,
        tail: Tail | None,
        settings: SurfaceSettings,
        now_ms: int,
        budget: Budget,
        *,
        unavailable: bool,
    ) -> Query:
        """The query. `budget` is for folding a state that is missing or behind; without a budget, or with the
        model down, the state that is there is taken. Never raises for the model's sake."""
        profile = stored.profile if stored is not None else None
        entries = model_history(profile, self._profiles) if profile is not None else ()
        # Asked once: whatever is flipped meanwhile, all of this list is of one version.
        manifest = None if unavailable else self._pointer().answers(request.user_id, profile)
        return Query(
            request=request,
            settings=settings,
            now_ms=now_ms,
            profile=profile,
            revision=stored.revision if stored is not None else 0,
            unavailable=unavailable,
            manifest=manifest,
            user=None
            if manifest is None
            else await self._user(request, profile, manifest, entries, now_ms, budget),
            model_history=entries,
            positives=self._positives(profile),
            taken=await self._taken(request, profile, tail),
        )

    def _positives(self, profile: Profile | None) -> tuple[str, ...]:
        spoken = positives(profile.history, self._actions) if profile is not None else ()
        return tuple(entry.item_id for entry in reversed(spoken))

    async def _taken(self, request: ListRequest, profile: Profile | None, tail: Tail | None) -> Rows:
        ids: set[str] = set(request.excluded)
        if profile is not None:
            ids |= consumed(profile, self._actions)
        rows = np.fromiter((row for each in ids if (row := self._catalog.row(each)) is not None), np.int64)
        hashes: Iterable[int] = request.served
        if tail is not None:
            hashes = request.served.union(tail.hashes())
        return np.concatenate([rows, await self._hashes.rows(hashes)]) if hashes else rows

    async def _user(
        self,
        request: ListRequest,
        profile: Profile | None,
        manifest: Manifest,
        entries: tuple[Entry, ...],
        now_ms: int,
        budget: Budget,
    ) -> User | None:
        version = manifest.version
        idle = idle_seconds(entries, now_ms)
        kept = profile.state(version) if profile is not None else None
        if kept is not None and not _usable(kept, manifest):
            log.error("model_state_unusable", model_version=version, state_bytes=len(kept.state))
            kept = None
        if kept is not None and not kept.stale:
            return User(version, states_of(kept), idle)
        fold = self._folds.remembered(request.user_id, version, entries)
        if fold is None and budget.left() > 0:
            fold = await self._fold(request, manifest, entries, budget)
        if fold is not None:
            return User(version, fold.states, idle, behind=bool(fold.missing))
        if kept is not None:
            # How far behind is not written in it: the user's newest event is the nearest guess.
            return User(version, states_of(kept), idle, behind=True)
        before = (
            self._folds.before(request.user_id, version, profile.history) if profile is not None else None
        )
        if before is None:
            return None
        return User(version, before.states, idle_seconds(before.entries, now_ms), behind=True)

    async def _fold(
        self, request: ListRequest, manifest: Manifest, entries: tuple[Entry, ...], budget: Budget
    ) -> Fold | None:
        seconds = budget.left()
        try:
            task: asyncio.Task[Fold] = self._folds.begin(request.user_id, manifest, entries, seconds)
            return await self._calls.result(task, seconds)
        except ModelUnavailable:
            metrics.STEPS_DOWN.labels("refold", "unavailable").inc()
        except Exception as error:  # a fault of ours costs the user a tier, not the list
            log_fault("refold_failed", error)
            metrics.STEPS_DOWN.labels("refold", "fault").inc()
        return None


def _usable(state: ModelState, manifest: Manifest) -> bool:
    """Whether a kept state fits the manifest, number for number."""
    if (len(state.state), len(state.user_vector)) != (4 * manifest.state_width, 4 * manifest.width):
        return False
    return all(
        bool(np.isfinite(np.frombuffer(part, "<f4")).all()) for part in (state.state, state.user_vector)
    )
