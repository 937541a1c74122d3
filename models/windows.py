"""Stretches of users' histories, as the model sees them in serving and in training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.data import Events, Floats, Ints


@dataclass(frozen=True, slots=True)
class Window:
    """events: indices of consecutive events of one user; from place `first` on they are to be foretold, each
    from those before it in the window. taken: further items that are not to be recommended any more."""

    events: Ints
    first: int
    taken: Ints


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded to one length t: [b, t] each, `vectors` aside, which are looked up by `items`.

    actions count from 1. target marks the events to be foretold. rows: indices into the events.
    """

    items: Tensor
    actions: Tensor
    gap_seconds: Tensor
    values: Tensor
    mask: Tensor
    target: Tensor
    rows: Ints


def serving_windows(rows: Ints, history: int, refold_every: int) -> list[Window]:
    """Every event of a user once, behind exactly the events that a state covers in serving: those of ranks
    (s, n], s = max(0, floor((n - history) / refold_every) * refold_every)."""
    found = [Window(rows[: history + refold_every], 0, rows[:0])]
    start = refold_every
    while start + history < len(rows):
        found.append(Window(rows[start : start + history + refold_every], history, rows[:start]))
        start += refold_every
    return found


def training_windows(rows: Ints, history: int, refold_every: int, rng: np.random.Generator) -> list[Window]:
    """As `serving_windows`, but with random ends, so that the model is not tied to them."""
    length = history + refold_every
    found = [Window(rows[:length], 0, rows[:0])]
    next_row = min(len(rows), length)
    while next_row < len(rows):
        start = next_row - history - int(rng.integers(0, max(1, refold_every // 2)))
        start = max(start, 0)
        found.append(Window(rows[start : start + length], next_row - start, rows[:start]))
        next_row = start + length
    return found


def covered(rows: Ints, history: int, refold_every: int) -> Ints:
    """Of a user's events so far those that the state covers in serving, as in `serving_windows`."""
    return rows[max(0, (len(rows) - history) // refold_every * refold_every) :]


def gaps(events: Events) -> Floats:
    """Seconds since the same user's event before; 0 for the first."""
    found = np.zeros(len(events), np.float32)
    for rows in events.by_user():
        found[rows[1:]] = np.diff(events.time_ms[rows]) / 1000
    return found


def batch(events: Events, gap_seconds: Floats, windows: Sequence[Window]) -> Batch:
    """Right-padded arrays of the windows. The first event of each has no gap, as in serving."""
    shape = len(windows), max(len(w.events) for w in windows)
    rows = np.zeros(shape, np.int64)
    mask = np.zeros(shape, np.float32)
    target = np.zeros(shape, np.bool_)
    for place, window in enumerate(windows):
        size = len(window.events)
        rows[place, :size] = window.events
        mask[place, :size] = 1
        target[place, window.first : size] = True
    gap = gap_seconds[rows] * mask
    gap[:, 0] = 0
    values = np.where(mask > 0, events.values[rows], np.float32(np.nan))
    return Batch(
        torch.from_numpy(events.items[rows]),
        torch.from_numpy(events.actions[rows] + 1),
        torch.from_numpy(gap),
        torch.from_numpy(values.astype(np.float32)),
        torch.from_numpy(mask),
        torch.from_numpy(target),
        rows,
    )


def taken_pairs(events: Events, windows: Sequence[Window], rows: Ints) -> tuple[Tensor, Tensor]:
    """(row, item) of what each foretold event's user had taken before it: rows count the foretold events in
    order. Items of repeatable actions are not taken."""
    row_parts: list[Ints] = []
    item_parts: list[Ints] = []
    row = 0
    for window, placed in zip(windows, rows, strict=True):
        older = events.items[window.taken][~events.repeats[window.taken]]
        own = placed[: len(window.events)]
        for place in range(window.first, len(own)):
            before = own[:place]
            items = np.concatenate([older, events.items[before][~events.repeats[before]]])
            # What is foretold now may be taken only by mistake of the data: it stays a target.
            items = items[items != events.items[own[place]]]
            row_parts.append(np.full(len(items), row, np.int64))
            item_parts.append(items)
            row += 1
    empty = np.zeros(0, np.int64)
    return (
        torch.from_numpy(np.concatenate([empty, *row_parts])),
        torch.from_numpy(np.concatenate([empty, *item_parts])),
    )
