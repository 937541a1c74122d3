"""Model states for folded profiles, inside a budget: stepped or folded, or else marked stale."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from inference.bundle.bundle import Manifest
from inference.model import Floats, Model, ModelUnavailable
from inference.refold import advance, refold
from inference.version_routing import VersionRouting
from ingest import metrics
from profiles.actions import ProfileSettings
from profiles.folding.fold import Folded, model_history
from profiles.profile import Entry, ModelState, Profile

VectorAt = Callable[[int, str], Floats | None]
"""An item's vector [d] under a model version, or None."""

# At most two versions are served at a time, and a profile holds their states.
_VERSIONS_KEPT = 2


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    history: tuple[Entry, ...]
    state: ModelState | None  # set: the state can be stepped by the newest entry


class ModelStates:
    """Gives profiles the states of the versions that `routing` wants of them at that moment."""

    def __init__(
        self,
        model: Model,
        routing: Callable[[], VersionRouting],
        vector: VectorAt,
        settings: ProfileSettings,
    ) -> None:
        self._model = model
        self._routing = routing
        self._vector = vector
        self._settings = settings

    async def update(self, folds: Sequence[Folded], *, timeout: float) -> list[Profile]:
        """The folded profiles with their states brought up to the history.

        One call a version for all that are one event ahead and one for the rest, at the same time, each bounded by
        `timeout` (seconds). Where the model gives no answer, the old states stay, marked stale. Never raises for the
        model.
        """
        routing = self._routing()
        profiles = [folded.profile for folded in folds]
        found: list[dict[int, ModelState]] = [{} for _ in folds]
        calls = []
        for manifest, indices in _by_version(routing, profiles):
            steps, refolds = self._jobs(manifest.version, folds, indices)
            calls.append(self._step(manifest, steps, found, timeout))
            calls.append(self._fold(manifest, refolds, found, timeout))
        await asyncio.gather(*calls)
        return [
            _with(profile, new, routing, folded.model_history_changed)
            for profile, new, folded in zip(profiles, found, folds, strict=True)
        ]

    async def refold(
        self, profiles: Sequence[Profile], *, timeout: float, all_states: bool = False
    ) -> list[Profile]:
        """The profiles with the wanted states that are missing or stale folded from the history; with `all_states`
        every wanted one, and every one of a live version. Raises ModelUnavailable."""
        routing = self._routing()
        found: list[dict[int, ModelState]] = [{} for _ in profiles]
        histories = [model_history(profile, self._settings) for profile in profiles]
        for manifest, wanted in _by_version(routing, profiles, others=all_states):
            version = manifest.version
            indices = [p for p in wanted if all_states or _is_stale(profiles[p].state(version))]
            if not indices:
                continue
            states = await refold(
                self._model, manifest, [histories[p] for p in indices], self._lookup(version), timeout=timeout
            )
            for index, state in zip(indices, states, strict=True):
                found[index][version] = state
        return [_with(profile, new, routing, False) for profile, new in zip(profiles, found, strict=True)]

    def is_stale(self, profile: Profile) -> bool:
        """Whether a wanted version's state is missing or stale although there is something to fold."""
        return bool(profile.history) and any(
            _is_stale(profile.state(manifest.version)) for manifest in self._routing().wanted(profile.user_id)
        )

    def lacks_state(self, profile: Profile) -> bool:
        """Whether a wanted version has no state at all of a profile with something to fold: it has yet to move."""
        return bool(profile.history) and any(
            profile.state(manifest.version) is None for manifest in self._routing().wanted(profile.user_id)
        )

    def items_without_vector(self, profile: Profile) -> frozenset[str]:
        """The items of the model's history without a vector: the state stays stale until they have one."""
        items = {entry.item_id for entry in model_history(profile, self._settings)}
        versions = [manifest.version for manifest in self._routing().wanted(profile.user_id)]
        return frozenset(
            item for item in items for version in versions if self._vector(version, item) is None
        )

    def has_vector(self, item_id: str) -> bool:
        """Whether the item has a vector under every version that answers anybody."""
        return all(self._vector(m.version, item_id) is not None for m in self._routing().answering)

    async def ready(self) -> bool:
        """Whether the model answers under every version that answers anybody; there is one at least."""
        answering = self._routing().answering
        return bool(answering) and all([await self._model.ready(m.version) for m in answering])

    def _jobs(
        self, version: int, folds: Sequence[Folded], indices: Sequence[int]
    ) -> tuple[list[_Job], list[_Job]]:
        steps: list[_Job] = []
        refolds: list[_Job] = []
        for index in indices:
            folded = folds[index]
            state = folded.profile.state(version)
            fresh = state is not None and not state.stale
            if fresh and not folded.model_history_changed:
                continue
            if state is None and not folded.profile.history:
                continue
            history = model_history(folded.profile, self._settings)
            if fresh and folded.step is not None:
                steps.append(_Job(index, history, state))
            else:
                refolds.append(_Job(index, history, None))
        return steps, refolds

    async def _step(
        self, manifest: Manifest, jobs: Sequence[_Job], found: list[dict[int, ModelState]], timeout: float
    ) -> None:
        if not jobs:
            return
        try:
            async with asyncio.timeout(timeout):
                states = await advance(
                    self._model,
                    manifest,
                    [job.state for job in jobs if job.state is not None],
                    [job.history[-2] if len(job.history) > 1 else None for job in jobs],
                    [job.history[-1] for job in jobs],
                    self._lookup(manifest.version),
                    timeout=timeout,
                )
        except (ModelUnavailable, TimeoutError):
            return
        _keep(jobs, states, found, "step")

    async def _fold(
        self, manifest: Manifest, jobs: Sequence[_Job], found: list[dict[int, ModelState]], timeout: float
    ) -> None:
        if not jobs:
            return
        try:
            async with asyncio.timeout(timeout):
                histories = [job.history for job in jobs]
                lookup = self._lookup(manifest.version)
                states = await refold(self._model, manifest, histories, lookup, timeout=timeout)
        except (ModelUnavailable, TimeoutError):
            return
        _keep(jobs, states, found, "fold")

    def _lookup(self, version: int) -> Callable[[str], Floats | None]:
        return lambda item_id: self._vector(version, item_id)


def _by_version(
    routing: VersionRouting, profiles: Sequence[Profile], others: bool = False
) -> list[tuple[Manifest, list[int]]]:
    """Each live version with the indices of the profiles that want it; `others`: also of those that merely have it."""
    indices: dict[int, list[int]] = {version: [] for version in routing.live}
    for index, profile in enumerate(profiles):
        versions = {manifest.version for manifest in routing.wanted(profile.user_id)}
        if others:
            versions |= {state.model_version for state in profile.states} & routing.live.keys()
        for version in versions:
            indices[version].append(index)
    return [(routing.live[version].manifest, found) for version, found in indices.items() if found]


def _is_stale(state: ModelState | None) -> bool:
    return state is None or state.stale


def _with(profile: Profile, new: Mapping[int, ModelState], routing: VersionRouting, changed: bool) -> Profile:
    """`changed`: states that were not computed anew are behind the history."""
    states = {state.model_version: state for state in profile.states}
    if changed:
        # Of a version that was not live at the last change either: it is retired, and not news yet to be heard.
        for version in [
            v for v, state in states.items() if state.stale and v not in (routing.live or states)
        ]:
            del states[version]
        left = [v for v, state in states.items() if v not in new and not state.stale]
        for version in left:
            states[version] = replace(states[version], stale=True)
        metrics.STATES_BY["stale"].inc(len(left))
    states.update(new)
    # Of two versions, the live ones first. Others stay while there is room: this process may be the last to hear.
    ranked = sorted(states, key=lambda version: (version in routing.live, version), reverse=True)
    return replace(profile, states=tuple(states[version] for version in sorted(ranked[:_VERSIONS_KEPT])))


def _keep(
    jobs: Sequence[_Job], states: Sequence[ModelState], found: list[dict[int, ModelState]], how: str
) -> None:
    for job, state in zip(jobs, states, strict=True):
        found[job.index][state.model_version] = state
    metrics.STATES_BY[how].inc(len(jobs))
