"""Converts entries of profiles into the input arrays of the user graphs."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from inference.bundle.bundle import Manifest
from inference.model import Floats, Histories, Steps
from profiles.profile import Entry, ModelState

VectorOf = Callable[[str], Floats | None]
"""Returns an item's vector [d] of the manifest's version, None if it has none yet."""

# A value above 3e38 would become infinity in float32.
_LARGEST: Final = 1e30


def histories(
    users: Sequence[Sequence[Entry]], vector: VectorOf, manifest: Manifest
) -> tuple[Histories, list[bool]]:
    """The input of a fold.

    Args:
        users: The entries that the state covers, oldest first, for each of b users
            (`profiles.folding.history.model_history`).
        vector: Item vectors by id.
        manifest: The manifest of the model version.

    Returns:
        The arrays, and for each user whether any of the items has no vector. Such an item gets zeros.
    """
    length = max((len(entries) for entries in users), default=0) or 1
    shape = (len(users), length)
    found = Histories(
        np.zeros((*shape, manifest.width), np.float32),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.full(shape, np.nan, np.float32),
        np.zeros(shape, np.float32),
    )
    unknown = [False] * len(users)
    for row, entries in enumerate(users):
        before: Entry | None = None
        for place, entry in enumerate(entries):
            known = vector(entry.item_id)
            if known is None:
                unknown[row] = True
            else:
                found.item_vectors[row, place] = known
            found.actions[row, place] = manifest.action_index(entry.action)
            found.gap_seconds[row, place] = gap_seconds(before, entry)
            found.values[row, place] = raw_value(entry)
            found.mask[row, place] = 1
            before = entry
    return found, unknown


def step_input(
    states: Sequence[ModelState],
    before: Sequence[Entry | None],
    events: Sequence[Entry],
    vector: VectorOf,
    manifest: Manifest,
) -> tuple[Steps, list[bool]]:
    """The input of a step.

    Args:
        states: The state of each of b users.
        before: The newest entry that each state covers. None: it covers none.
        events: The event of each user.
        vector, manifest: See `histories`.

    Returns:
        The arrays, and for each user whether the event's item has no vector. Such an item gets zeros.
    """
    rows = len(events)
    found = Steps(
        np.zeros((rows, manifest.state_width), np.float32),
        np.zeros((rows, manifest.width), np.float32),
        np.array([manifest.action_index(e.action) for e in events], np.int64),
        np.array([gap_seconds(b, e) for b, e in zip(before, events, strict=True)], np.float32),
        np.array([raw_value(e) for e in events], np.float32),
    )
    unknown = [False] * rows
    for row, (state, event) in enumerate(zip(states, events, strict=True)):
        found.state[row] = np.frombuffer(state.state, "<f4")
        known = vector(event.item_id)
        if known is None:
            unknown[row] = True
        else:
            found.item_vectors[row] = known
    return found, unknown


def gap_seconds(before: Entry | None, entry: Entry) -> float:
    """Seconds since the previous event. 0 for the first one."""
    return 0.0 if before is None else (entry.time_ms - before.time_ms) / 1000


def idle_seconds(entries: Sequence[Entry], now_ms: int) -> float:
    """Seconds from the newest entry to `now_ms`, at least 0. -1 if there are no entries.

    Args:
        entries: The entries that a state covers, oldest first.
        now_ms: Unix time in milliseconds.
    """
    return max(0, now_ms - entries[-1].time_ms) / 1000 if entries else -1.0


def raw_value(entry: Entry) -> float:
    """The entry's value as an input of the graphs. NaN if it has none."""
    return float("nan") if entry.value is None else max(-_LARGEST, min(_LARGEST, entry.value))
