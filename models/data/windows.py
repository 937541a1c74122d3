"""Windows of users' histories, as the model sees them in training and in serving, and batches of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models.data.events import Events, Floats, Ints

# Windows are batched by length if the longest is this many times the mean. Otherwise most of a batch would be padding.
_LENGTH_SPREAD = 4
_BATCHES_SORTED = 64


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive events of one user.

    Attributes:
        events: their rows, oldest first.
        first_target: from this position on, each event is a target, predicted from those before it in the window.
        consumed: rows of the user's events before the window, whose items may not be recommended again.
    """

    events: Ints
    first_target: int
    consumed: Ints


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows padded on the right to one length t.

    Attributes:
        items: indices of items [b, t].
        actions: indices of actions from 1 [b, t].
        gap_seconds: seconds since the user's previous event [b, t]; 0 for the first of a window, as in serving.
        values: [b, t], NaN for events without a value.
        mask: 1 for events and 0 for padding [b, t].
        target: which events are targets [b, t].
        rows: rows of the events [b, t], on the CPU.
        target_rows: rows of the targets in order, on the CPU.
    """

    items: Tensor
    actions: Tensor
    gap_seconds: Tensor
    values: Tensor
    mask: Tensor
    target: Tensor
    rows: Ints
    target_rows: Ints

    def to(self, device: torch.device) -> "Batch":
        """The same batch on this device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("items", "actions", "gap_seconds", "values", "mask", "target")
        }
        return replace(self, **moved)


def serving_windows(rows: Ints, history: int, refold_every: int) -> list[Window]:
    """Windows in which each event of a user is a target once, after exactly the events that a state covers in serving:
    those of ranks (s, n], s = max(0, floor((n - history) / refold_every) * refold_every).

    Args:
        rows: the user's events, oldest first.
        history: N, events that a state always covers.
        refold_every: K, events between two refolds.
    """
    found = [Window(rows[: history + refold_every], 0, rows[:0])]
    start = refold_every
    while start + history < len(rows):
        found.append(Window(rows[start : start + history + refold_every], history, rows[:start]))
        start += refold_every
    return found


def training_windows(
    rows: Ints, history: int, refold_every: int, rng: np.random.Generator, first_target: int = 0
) -> list[Window]:
    """Like `serving_windows`, but with random borders, so that the model does not depend on them.

    Args:
        rows: the user's events, oldest first.
        history: N, events that a state always covers.
        refold_every: K, events between two refolds.
        rng: draws the borders.
        first_target: events before this position are not targets.
    """
    length = history + refold_every
    found: list[Window] = []
    target = first_target
    while target < len(rows):
        start = target - history - int(rng.integers(0, max(1, refold_every // 2))) if target else 0
        start = max(start, 0)
        found.append(Window(rows[start : start + length], target - start, rows[:start]))
        target = start + length
    return found


def covered_by_state(rows: Ints, history: int, refold_every: int) -> Ints:
    """The last of a user's events `rows` that the state covers in serving, as in `serving_windows`."""
    return rows[max(0, (len(rows) - history) // refold_every * refold_every) :]


def drop_cold_targets(windows: Iterable[Window]) -> list[Window]:
    """Drops targets that have no event before them in their window, and windows that then have no target."""
    later = (replace(window, first_target=max(1, window.first_target)) for window in windows)
    return [window for window in later if window.first_target < len(window.events)]


def shuffled_batches(windows: Sequence[Window], size: int, rng: np.random.Generator) -> list[list[Window]]:
    """The windows in batches of `size`, in random order.

    If most windows are much shorter than the longest, windows of about one length share a batch: they are sorted by
    length within many batches at a time, and the batches are shuffled.
    """
    order = rng.permutation(len(windows))
    starts = np.arange(0, len(windows), size)
    lengths = np.array([len(window.events) for window in windows])
    if len(windows) and _LENGTH_SPREAD * lengths.mean() < lengths.max():
        for start in range(0, len(order), _BATCHES_SORTED * size):
            part = order[start : start + _BATCHES_SORTED * size]
            part[:] = part[np.argsort(lengths[part], kind="stable")]
        starts = rng.permutation(starts)
    return [[windows[i] for i in order[start : start + size]] for start in starts.tolist()]


def rank_windows(windows: Sequence[Window], rank: int, world_size: int) -> Sequence[Window]:
    """The windows of a batch that belong to process `rank` of `world_size`.

    If there are none, the process gets a window without targets, so that it still takes part in the step.
    """
    return windows[rank::world_size] or [Window(windows[0].events[:1], 1, windows[0].events[:0])]


def event_gaps(events: Events) -> Floats:
    """Seconds since the same user's previous event [rows]; 0 for the first."""
    found = np.zeros(len(events), np.float32)
    for rows in events.by_user():
        found[rows[1:]] = np.diff(events.time_ms[rows]) / 1000
    return found


def collate(events: Events, gap_seconds: Floats, windows: Sequence[Window]) -> Batch:
    """Pads b windows to a batch. Its length is at least 1.

    Args:
        events: the events of the windows.
        gap_seconds: what `event_gaps` returned for them [rows].
        windows: the windows.
    """
    shape = len(windows), max(1, *(len(window.events) for window in windows))
    rows = np.zeros(shape, np.int64)
    mask = np.zeros(shape, np.float32)
    target = np.zeros(shape, np.bool_)
    for index, window in enumerate(windows):
        size = len(window.events)
        rows[index, :size] = window.events
        mask[index, :size] = 1
        target[index, window.first_target : size] = True
    gap = gap_seconds[rows] * mask
    gap[:, 0] = 0
    values = np.where(mask > 0, events.values[rows], np.float32(np.nan))
    return Batch(
        items=torch.from_numpy(events.items[rows]),
        actions=torch.from_numpy(events.actions[rows] + 1),
        gap_seconds=torch.from_numpy(gap),
        values=torch.from_numpy(values.astype(np.float32)),
        mask=torch.from_numpy(mask),
        target=torch.from_numpy(target),
        rows=rows,
        target_rows=rows[target],
    )


def consumed_pairs(events: Events, windows: Sequence[Window], rows: Ints) -> tuple[Tensor, Tensor]:
    """The items that users had consumed before each target, as pairs (target, item).

    Items of repeatable actions do not count, and neither does the target's own item.

    Args:
        events: the events of the windows.
        windows: the windows of a batch.
        rows: the batch's rows [b, t].

    Returns:
        Indices of the batch's targets, and indices of items, [pairs] each.
    """
    target_parts: list[Ints] = []
    item_parts: list[Ints] = []
    target = 0
    for window, padded in zip(windows, rows, strict=True):
        older = events.items[window.consumed][~events.repeats[window.consumed]]
        in_window = padded[: len(window.events)]
        for position in range(window.first_target, len(in_window)):
            before = in_window[:position]
            items = np.concatenate([older, events.items[before][~events.repeats[before]]])
            # A target may have been consumed before, which is a flaw of the data. It must not be masked.
            items = items[items != events.items[in_window[position]]]
            target_parts.append(np.full(len(items), target, np.int64))
            item_parts.append(items)
            target += 1
    empty = np.zeros(0, np.int64)
    return (
        torch.from_numpy(np.concatenate([empty, *target_parts])),
        torch.from_numpy(np.concatenate([empty, *item_parts])),
    )
