"""Computes the model states of folded profiles within a time budget. A state is stepped, folded, or marked stale."""

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
"""Returns an item's vector [d] under a model version, or None."""

# At most two versions are served at a time. A profile holds the states of both.
_MAX_VERSIONS = 2


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    history: tuple[Entry, ...]
    state: ModelState | None  # the state to step by the newest entry; None: fold the history


class ModelStates:
    """Brings the states of profiles up to date, under the model versions that serve them at that moment.

    Args:
        model: Steps and folds states.
        routing: The live versions, and which of them serves a user.
        vector: Item vectors by version and item id.
        settings: The settings of profiles.
    """

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
        """Brings the states of folded profiles up to date with their histories.

        Each version takes two concurrent calls: one steps the states that are one event behind, the other folds the
        rest. If the model does not answer, the old states stay and are marked stale. No error is raised.

        Args:
            folds: The folded profiles.
            timeout: The longest time for each call, in seconds.

        Returns:
            The profiles, in order.
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
        """Folds missing and stale states from the histories.

        Args:
            profiles: The profiles.
            timeout: The longest time for each call, in seconds.
            all_states: Fold every wanted state and every state of a live version, even if it is up to date.

        Returns:
            The profiles, in order.

        Raises:
            ModelUnavailable: The model does not answer.
        """
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
        """Whether the state of a wanted version is missing or stale, although there is a history to fold."""
        return bool(profile.history) and any(
            _is_stale(profile.state(manifest.version)) for manifest in self._routing().wanted(profile.user_id)
        )

    def lacks_state(self, profile: Profile) -> bool:
        """Whether a profile with a history lacks the state of a wanted version, so that it has to be migrated."""
        return bool(profile.history) and any(
            profile.state(manifest.version) is None for manifest in self._routing().wanted(profile.user_id)
        )

    def items_without_vector(self, profile: Profile) -> frozenset[str]:
        """Returns the items of the model's history that have no vector. The state stays stale until they have one."""
        items = {entry.item_id for entry in model_history(profile, self._settings)}
        versions = [manifest.version for manifest in self._routing().wanted(profile.user_id)]
        return frozenset(
            item for item in items for version in versions if self._vector(version, item) is None
        )

    def has_vector(self, item_id: str) -> bool:
        """Whether the item has a vector under every version that serves any user."""
        return all(self._vector(m.version, item_id) is not None for m in self._routing().answering)

    async def ready(self) -> bool:
        """Whether a version serves users, and the model is ready under every such version."""
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
    """Returns each live version with the indices of the profiles that want a state of it.

    Args:
        routing: The live versions, and which of them a user wants.
        profiles: The profiles.
        others: Include the profiles that have a state of the version without wanting it.
    """
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
    """Returns the profile with the new states. If its history has `changed`, its other states are marked stale."""
    states = {state.model_version: state for state in profile.states}
    if changed:
        # A state that is stale already missed the last change, too. So its version is retired, and not one whose
        # record this process has yet to read.
        for version in [
            v for v, state in states.items() if state.stale and v not in (routing.live or states)
        ]:
            del states[version]
        left = [v for v, state in states.items() if v not in new and not state.stale]
        for version in left:
            states[version] = replace(states[version], stale=True)
        metrics.STATES_BY["stale"].inc(len(left))
    states.update(new)
    # Live versions come first. Others stay while there is room, since this process may not have read of them yet.
    ranked = sorted(states, key=lambda version: (version in routing.live, version), reverse=True)
    return replace(profile, states=tuple(states[version] for version in sorted(ranked[:_MAX_VERSIONS])))


def _keep(
    jobs: Sequence[_Job], states: Sequence[ModelState], found: list[dict[int, ModelState]], how: str
) -> None:
    for job, state in zip(jobs, states, strict=True):
        found[job.index][state.model_version] = state
    metrics.STATES_BY[how].inc(len(jobs))
