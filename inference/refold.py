"""Computes the model states of profiles: from the whole history, or by a step of one event."""

import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from inference.bundle.bundle import Manifest
from inference.histories import VectorOf, histories, step_input
from inference.model import Floats, Histories, Model, NotFinite, States, Steps
from profiles.profile import Entry, ModelState


async def refold(
    model: Model, manifest: Manifest, users: Sequence[Sequence[Entry]], vector: VectorOf, *, timeout: float
) -> list[ModelState]:
    """Folds histories into states.

    Args:
        model: The model.
        manifest: The manifest of the version to fold with.
        users: The history of each user, oldest entry first. An empty history gives the state of an unknown user.
        vector: Item vectors by id.
        timeout: Seconds for all users together.

    Returns:
        A state for each user, in order. It is stale if an item had no vector. It is stale and all zeros if the model's
        numbers for this user were not finite.

    Raises:
        ModelUnavailable: The model gave no usable answer in time.
    """
    inputs, unknown = histories(users, vector, manifest)

    async def call(rows: list[int], left: float) -> States:
        part = Histories(
            inputs.item_vectors[rows],
            inputs.actions[rows],
            inputs.gap_seconds[rows],
            inputs.values[rows],
            inputs.mask[rows],
        )
        return (await model.fold(manifest.version, part, timeout=left)).states

    return await _states(call, manifest, unknown, timeout)


async def advance(
    model: Model,
    manifest: Manifest,
    states: Sequence[ModelState],
    before: Sequence[Entry | None],
    events: Sequence[Entry],
    vector: VectorOf,
    *,
    timeout: float,
) -> list[ModelState]:
    """Steps states by one event each.

    Args:
        states: The users' states. A stale one needs a refold instead.
        before: The newest entry that each state covers. None: it covers none.
        events: The event of each user.
        model, manifest, vector, timeout: See `refold`.

    Returns, Raises:
        See `refold`.
    """
    inputs, unknown = step_input(states, before, events, vector, manifest)

    async def call(rows: list[int], left: float) -> States:
        part = Steps(
            inputs.state[rows],
            inputs.item_vectors[rows],
            inputs.actions[rows],
            inputs.gap_seconds[rows],
            inputs.values[rows],
        )
        return await model.step(manifest.version, part, timeout=left)

    return await _states(call, manifest, unknown, timeout)


def states_of(state: ModelState) -> States:
    """Converts a stored state into the ranker's input, a batch of one."""
    return States(
        np.frombuffer(state.state, "<f4")[None].astype(np.float32),
        np.frombuffer(state.user_vector, "<f4")[None].astype(np.float32),
    )


async def _states(
    call: Callable[[list[int], float], Awaitable[States]],
    manifest: Manifest,
    unknown: Sequence[bool],
    timeout: float,
) -> list[ModelState]:
    """Calls the model. If rows are not finite, calls it once more without them, so that one bad history does not make
    the whole batch stale."""
    if not unknown:
        return []
    deadline = time.monotonic() + timeout
    rows = list(range(len(unknown)))
    try:
        found = await call(rows, timeout)
    except NotFinite as error:
        rows = [row for row in rows if row not in set(error.rows)]
        if not rows:
            raise
        found = await call(rows, deadline - time.monotonic())
    states = [_zeros(manifest)] * len(unknown)
    for place, row in enumerate(rows):
        states[row] = ModelState(
            manifest.version, _bytes(found.state[place]), _bytes(found.user_vector[place]), unknown[row]
        )
    return states


def _zeros(manifest: Manifest) -> ModelState:
    return ModelState(
        manifest.version, bytes(4 * manifest.state_width), bytes(4 * manifest.width), stale=True
    )


def _bytes(row: Floats) -> bytes:
    return row.astype("<f4").tobytes()
