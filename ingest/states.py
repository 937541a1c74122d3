"""Model states for folded profiles, inside a budget: stepped or folded, or else marked stale."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from inference.bundle import Manifest
from inference.model import Floats, Model, ModelUnavailable
from inference.refold import advance, refold
from ingest import metrics
from profiles.actions import ProfileSettings
from profiles.fold import Folded, model_history
from profiles.profile import Entry, ModelState, Profile

VectorAt = Callable[[int, str], Floats | None]
"""An item's vector [d] under a model version, or None."""

# At most two versions are served at a time, and a profile holds their states.
_VERSIONS_KEPT = 2


@dataclass(frozen=True, slots=True)
class _Job:
    place: int
    history: tuple[Entry, ...]
    state: ModelState | None  # set: the state can be stepped by the newest entry


class States:
    """Gives profiles the states of the versions in `manifests`."""

    def __init__(
        self,
        model: Model,
        manifests: Mapping[int, Manifest],
        vector: VectorAt,
        settings: ProfileSettings,
    ) -> None:
        self._model = model
        self._manifests = manifests
        self._vector = vector
        self._settings = settings

    async def after(self, folds: Sequence[Folded], *, timeout: float) -> list[Profile]:
        """The folded profiles with their states brought up to the history.

        One call for all that are one event ahead and one for the rest, at the same time, each bounded by `timeout`
        (seconds). Where the model gives no answer, the old states stay, marked stale. Never raises for the model.
        """
        profiles = [folded.profile for folded in folds]
        found: list[dict[int, ModelState]] = [{} for _ in folds]
        calls = []
        for version, manifest in self._manifests.items():
            steps, refolds = self._jobs(version, folds)
            calls.append(self._step(manifest, steps, found, timeout))
            calls.append(self._fold(manifest, refolds, found, timeout))
        await asyncio.gather(*calls)
        return [
            self._with(profile, new, folded.model_history_changed)
            for profile, new, folded in zip(profiles, found, folds, strict=True)
        ]

    async def refolded(self, profiles: Sequence[Profile], *, timeout: float) -> list[Profile]:
        """The profiles with every state folded from the history. Raises ModelUnavailable."""
        found: list[dict[int, ModelState]] = [{} for _ in profiles]
        histories = [model_history(profile, self._settings) for profile in profiles]
        for version, manifest in self._manifests.items():
            states = await refold(self._model, manifest, histories, self._lookup(version), timeout=timeout)
            for place, state in enumerate(states):
                found[place][version] = state
        return [self._with(profile, new, False) for profile, new in zip(profiles, found, strict=True)]

    def behind(self, profile: Profile) -> bool:
        """Whether a served version's state is missing or stale although there is something to fold."""
        if not profile.history:
            return False
        states = [profile.state(version) for version in self._manifests]
        return any(state is None or state.stale for state in states)

    def missing(self, profile: Profile) -> frozenset[str]:
        """The items of the model's history without a vector: the state stays stale until they have one."""
        items = {entry.item_id for entry in model_history(profile, self._settings)}
        return frozenset(
            item for item in items for version in self._manifests if self._vector(version, item) is None
        )

    def available(self, item_id: str) -> bool:
        """Whether the item has a vector under every served version."""
        return all(self._vector(version, item_id) is not None for version in self._manifests)

    async def ready(self) -> bool:
        """Whether the model answers under every version."""
        return all([await self._model.ready(version) for version in self._manifests])

    def _jobs(self, version: int, folds: Sequence[Folded]) -> tuple[list[_Job], list[_Job]]:
        steps: list[_Job] = []
        refolds: list[_Job] = []
        for place, folded in enumerate(folds):
            state = folded.profile.state(version)
            fresh = state is not None and not state.stale
            if fresh and not folded.model_history_changed:
                continue
            if state is None and not folded.profile.history:
                continue
            history = model_history(folded.profile, self._settings)
            if fresh and folded.step is not None:
                steps.append(_Job(place, history, state))
            else:
                refolds.append(_Job(place, history, None))
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

    def _with(self, profile: Profile, new: Mapping[int, ModelState], changed: bool) -> Profile:
        """`changed`: states that were not computed anew are behind the history."""
        states = {state.model_version: state for state in profile.states}
        if changed:
            left = [v for v, state in states.items() if v not in new and not state.stale]
            for version in left:
                states[version] = replace(states[version], stale=True)
            metrics.STATES.labels("stale").inc(len(left))
        states.update(new)
        return replace(profile, states=tuple(_served_first(states, self._manifests)))


def _served_first(states: Mapping[int, ModelState], served: Iterable[int]) -> list[ModelState]:
    """The states to keep: of served versions, then the newest others; ascending."""
    wanted = set(served)
    ranked = sorted(states, key=lambda version: (version in wanted, version), reverse=True)
    return [states[version] for version in sorted(ranked[:_VERSIONS_KEPT])]


def _keep(
    jobs: Sequence[_Job], states: Sequence[ModelState], found: list[dict[int, ModelState]], how: str
) -> None:
    for job, state in zip(jobs, states, strict=True):
        found[job.place][state.model_version] = state
    metrics.STATES.labels(how).inc(len(jobs))
