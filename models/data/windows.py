"""Stretches of users' histories, as the model sees them in serving and in training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.data.events import Events, Floats, Ints
from models.training.distributed import process_group as workers

_MOSTLY_PADDING = 4
_BATCHES_SORTED = 64


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

    actions count from 1. target marks the events to be foretold. rows: indices into the events [b, t], and foretold:
    those of the events to be foretold, in order; both stay on the CPU.
    """

    items: Tensor
    actions: Tensor
    gap_seconds: Tensor
    values: Tensor
    mask: Tensor
    target: Tensor
    rows: Ints
    foretold: Ints

    def to(self, device: torch.device) -> "Batch":
        """The same on this device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("items", "actions", "gap_seconds", "values", "mask", "target")
        }
        return replace(self, **moved)


def serving_windows(rows: Ints, history: int, refold_every: int) -> list[Window]:
    """Every event of a user once, behind exactly the events that a state covers in serving: those of ranks
    (s, n], s = max(0, floor((n - history) / refold_every) * refold_every)."""
    found = [Window(rows[: history + refold_every], 0, rows[:0])]
    start = refold_every
    while start + history < len(rows):
        found.append(Window(rows[start : start + history + refold_every], history, rows[:start]))
        start += refold_every
    return found


def training_windows(
    rows: Ints, history: int, refold_every: int, rng: np.random.Generator, first: int = 0
) -> list[Window]:
    """As `serving_windows`, but with random ends, so that the model is not tied to them. first: those before this place
    are not to be foretold."""
    length = history + refold_every
    found: list[Window] = []
    next_row = first
    while next_row < len(rows):
        start = next_row - history - int(rng.integers(0, max(1, refold_every // 2))) if next_row else 0
        start = max(start, 0)
        found.append(Window(rows[start : start + length], next_row - start, rows[:start]))
        next_row = start + length
    return found


def covered(rows: Ints, history: int, refold_every: int) -> Ints:
    """Of a user's events so far those that the state covers in serving, as in `serving_windows`."""
    return rows[max(0, (len(rows) - history) // refold_every * refold_every) :]


def batches(windows: Sequence[Window], size: int, rng: np.random.Generator) -> list[list[Window]]:
    """The windows in batches of `size`, in random order. Where most are much shorter than the longest, those of
    about one length come together, sorted many batches at a time: else most of what is computed is padding."""
    order = rng.permutation(len(windows))
    starts = np.arange(0, len(windows), size)
    lengths = np.array([len(window.events) for window in windows])
    if len(windows) and _MOSTLY_PADDING * lengths.mean() < lengths.max():
        for start in range(0, len(order), _BATCHES_SORTED * size):
            part = order[start : start + _BATCHES_SORTED * size]
            part[:] = part[np.argsort(lengths[part], kind="stable")]
        starts = rng.permutation(starts)
    return [[windows[i] for i in order[start : start + size]] for start in starts.tolist()]


def with_history(windows: Iterable[Window]) -> list[Window]:
    """The same without what would be foretold from nothing."""
    later = (replace(window, first=max(1, window.first)) for window in windows)
    return [window for window in later if window.first < len(window.events)]


def share_of(windows: Sequence[Window]) -> Sequence[Window]:
    """This process's part of a batch; where there is none left for it, a window in which nothing is to be foretold, so
    that it takes part in the step."""
    mine = workers.share(windows)
    return mine or [Window(windows[0].events[:1], 1, windows[0].events[:0])]


def gaps(events: Events) -> Floats:
    """Seconds since the same user's event before; 0 for the first."""
    found = np.zeros(len(events), np.float32)
    for rows in events.by_user():
        found[rows[1:]] = np.diff(events.time_ms[rows]) / 1000
    return found


def batch(events: Events, gap_seconds: Floats, windows: Sequence[Window]) -> Batch:
    """Right-padded arrays of the windows, of length 1 at least. The first event of each has no gap, as in serving."""
    shape = len(windows), max(1, *(len(w.events) for w in windows))
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
        rows[target],
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
