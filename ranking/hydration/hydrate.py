"""Hydrates queries: derives what the stages need from requests and stored profiles."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from catalog.in_memory import InMemoryCatalog
from inference.bundle.bundle import Manifest
from inference.histories import idle_seconds
from inference.model import ModelUnavailable
from inference.refold import states_of
from inference.version_routing import VersionRouting
from profiles.actions import Actions, ProfileSettings
from profiles.folding.history import consumed, model_history, positives
from profiles.folding.tail import hash64
from profiles.profile import ModelState, Profile
from ranking.deadline.budget import Budget
from ranking.deadline.calls import Calls
from ranking.deadline.fallbacks import fall_back
from ranking.hydration.history_encoder import EncodedHistory, HistoryEncoder, UserHistory
from ranking.hydration.item_hashes import ItemHashes
from ranking.query import HydratedQuery, ListRequest, Query, Rows, User
from ranking.rules.active import NO_RULES, ActiveRules, active
from ranking.rules.rotation import shown
from ranking.surfaces.in_force import SurfacesInForce

log = structlog.get_logger()


class ProfileHydrator:
    """Looks up what users consumed, what they liked last, and their model states."""

    def __init__(
        self,
        catalog: InMemoryCatalog,
        encoder: HistoryEncoder,
        calls: Calls,
        versions: Callable[[], VersionRouting],
        profiles: ProfileSettings,
        surfaces: Callable[[], SurfacesInForce],
    ) -> None:
        """Args:
        versions: Returns the current routing of users to model versions.
        surfaces: Returns the surfaces in force.
        """
        self._catalog = catalog
        self._encoder = encoder
        self._calls = calls
        self._versions = versions
        self._profiles = profiles
        self._actions = Actions(profiles.actions)
        self._surfaces = surfaces
        self._hashes = ItemHashes(catalog)

    async def hydrate(self, queries: Sequence[Query], budget: Budget) -> list[HydratedQuery]:
        """Hydrates the queries, see `QueryHydrator.hydrate`. The budget is for folding states that are missing or
        behind. If it is used up or the model is down, the present states are used."""
        # Read once, so that each list is of one version even if they change.
        routing, surfaces = self._versions(), self._surfaces()
        states = [_State.of(query, routing, self._profiles) for query in queries]
        encoded = await self._encoded(states, budget)
        rules = [_active(query, surfaces) for query in queries]
        pins = [self._pins(query.request, each) for query, each in zip(queries, rules, strict=True)]
        return [
            HydratedQuery(
                request=query.request,
                now_ms=query.now_ms,
                settings=surfaces.settings[surfaces.known(query.request.surface)],
                surfaces_version=surfaces.version,
                profile_unavailable=query.profile_unavailable,
                revision=query.stored.revision if query.stored is not None else 0,
                manifest=state.manifest,
                user=self._user(state, encoded.get(index), query.now_ms),
                model_history=state.history.entries,
                positives=self._positives(state.profile),
                consumed=_without(await self._consumed(query, state.profile), pins[index]),
                rules=rules[index],
                pins=pins[index],
                shown=self._shown(state.profile, query.now_ms, rules[index]),
            )
            for index, (query, state) in enumerate(zip(queries, states, strict=True))
        ]

    def _positives(self, profile: Profile | None) -> tuple[str, ...]:
        spoken = positives(profile.history, self._actions) if profile is not None else ()
        return tuple(entry.item_id for entry in reversed(spoken))

    async def _consumed(self, query: Query, profile: Profile | None) -> Rows:
        ids: set[str] = set(query.request.excluded)
        if profile is not None:
            ids |= consumed(profile, self._actions)
        rows = np.fromiter((row for each in ids if (row := self._catalog.row(each)) is not None), np.int64)
        hashes: Iterable[int] = query.request.served
        if query.tail is not None:
            hashes = query.request.served.union(query.tail.hashes())
        return np.concatenate([rows, await self._hashes.rows(hashes)]) if hashes else rows

    def _pins(self, request: ListRequest, rules: ActiveRules) -> tuple[tuple[int, int], ...]:
        """See `HydratedQuery.pins`."""
        pins = []
        for pin in rules.pins:
            left_out = pin.item_id in request.excluded or hash64(pin.item_id) in request.served
            if pin.position < request.count and not left_out:
                row = self._catalog.row(pin.item_id)
                pins.append((row if row is not None else -1, pin.position))
        return tuple(pins)

    def _shown(self, profile: Profile | None, now_ms: int, rules: ActiveRules) -> Mapping[int, int]:
        """See `HydratedQuery.shown`."""
        if profile is None or not rules.rotation:
            return {}
        counts = shown(profile, now_ms - rules.rotation_ms)
        return {row: count for each, count in counts.items() if (row := self._catalog.row(each)) is not None}

    async def _encoded(self, states: "Sequence[_State]", budget: Budget) -> Mapping[int, EncodedHistory]:
        """Encoded histories, by index of the query, for queries whose stored state is missing or stale. They come from
        the cache, or from one call for each model version within the budget."""
        found: dict[int, EncodedHistory] = {}
        wanted: dict[int, list[int]] = {}
        for index, state in enumerate(states):
            if state.manifest is None or (state.kept is not None and not state.kept.stale):
                continue
            cached = self._encoder.cached(state.history, state.manifest.version)
            if cached is not None:
                found[index] = cached
            elif budget.left() > 0:
                wanted.setdefault(state.manifest.version, []).append(index)
        seconds = budget.left()
        tasks = []
        for indices in wanted.values():
            manifest = states[indices[0]].manifest
            if manifest is not None:
                users = [states[index].history for index in indices]
                tasks.append((indices, self._encoder.begin(manifest, users, seconds)))
        try:
            for indices, task in tasks:
                try:
                    encoded = await self._calls.result(task, budget.left())
                except Exception as error:  # These users fall to a lower tier, but get their lists.
                    fall_back("refold", error, len(indices))
                    continue
                for index, each in zip(indices, encoded, strict=True):
                    if each is not None:
                        found[index] = each
                    else:
                        fall_back("refold", ModelUnavailable())
        finally:
            for _, task in tasks:
                task.cancel()
        return found

    def _user(self, state: "_State", encoded: EncodedHistory | None, now_ms: int) -> User | None:
        if state.manifest is None:
            return None
        version, idle = state.manifest.version, idle_seconds(state.history.entries, now_ms)
        if state.kept is not None and not state.kept.stale:
            return User(version, states_of(state.kept), idle)
        if encoded is not None:
            return User(version, encoded.states, idle, behind=bool(encoded.missing))
        if state.kept is not None:
            # The state does not say which events it covers. The user's newest event is the best guess.
            return User(version, states_of(state.kept), idle, behind=True)
        if state.profile is None:
            return None
        earlier = self._encoder.earlier(state.history.user_id, version, state.profile.history)
        if earlier is None:
            return None
        return User(version, earlier.states, idle_seconds(earlier.entries, now_ms), behind=True)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What is known about a query's user before the model is called.

    Attributes:
        profile: The stored profile. None: there is none.
        history: The entries that a model state covers.
        manifest: The version that serves the user. None: no model does.
        kept: The stored state of that version, if it is usable.
    """

    profile: Profile | None
    history: UserHistory
    manifest: Manifest | None
    kept: ModelState | None

    @classmethod
    def of(cls, query: Query, routing: VersionRouting, settings: ProfileSettings) -> "_State":
        profile = query.stored.profile if query.stored is not None else None
        user_id = query.request.user_id
        history = UserHistory(user_id, model_history(profile, settings) if profile is not None else ())
        manifest = None if query.profile_unavailable else routing.answers(user_id, profile)
        kept = profile.state(manifest.version) if profile is not None and manifest is not None else None
        if kept is not None and manifest is not None and not _usable(kept, manifest):
            log.error("model_state_unusable", model_version=manifest.version, state_bytes=len(kept.state))
            kept = None
        return cls(profile, history, manifest, kept)


def _active(query: Query, surfaces: SurfacesInForce) -> ActiveRules:
    if query.request.item_ids:
        return NO_RULES  # Rank orders what the caller chose.
    rules = surfaces.rules[surfaces.known(query.request.surface)]
    return active(rules, query.request.rules, query.now_ms)


def _without(consumed: Rows, pins: Sequence[tuple[int, int]]) -> Rows:
    """The consumed rows without the pinned ones, which are listed though the user consumed them."""
    return consumed[~np.isin(consumed, [row for row, _ in pins])] if pins else consumed


def _usable(state: ModelState, manifest: Manifest) -> bool:
    """Whether a stored state has the manifest's widths and is finite."""
    if (len(state.state), len(state.user_vector)) != (4 * manifest.state_width, 4 * manifest.width):
        return False
    return all(
        bool(np.isfinite(np.frombuffer(part, "<f4")).all()) for part in (state.state, state.user_vector)
    )
