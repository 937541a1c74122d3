"""How each protocol splits the events into training, targets and histories."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import TimesMissing
from models.data.events import Events, Ints

Mask = NDArray[np.bool_]
Protocol = Literal["leave-one-out", "next-item", "future"]
Hiding = Literal["cold-items", "warm-items", "shown-items"]
Name = Literal["leave-one-out", "next-item", "future", "cold-items", "warm-items", "shown-items"]
Variant = Literal["test", "validation"]

PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)
TEST_FROM: Final = 0.9
VALIDATION_FROM: Final = 0.8
HIDDEN: Final = 0.1


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a protocol holds out of a data set.

    Attributes:
        known: The events that may be used at all.
        training: Which of them may be trained on, bool [rows of known].
        targets: For each query, the rows of the positive events to predict.
        before: For each query, the rows of its user's history.
        visible: For each query, the row below which events of all users may be counted, int64 [queries].
        too_short: Number of users with too few events for a query.
        consumed: For each query, the rows of its user's events whose items must not be listed. None: the history.
    """

    known: Events
    training: Mask
    targets: Sequence[Ints]
    before: Sequence[Ints]
    visible: Ints
    too_short: int = 0
    consumed: Sequence[Ints] | None = None


def leave_one_out(known: Events, variant: Variant) -> HeldOut:
    """The target is each user's last positive event in the test, and the one before it in the validation.

    Users with fewer than three positive events are only trained on.
    """
    target_from_end = {"test": 1, "validation": 2}[variant]
    training, seen = np.ones(len(known), np.bool_), np.ones(len(known), np.bool_)
    targets: list[int] = []
    before: list[Ints] = []
    too_short = 0
    for rows in known.by_user():
        liked = np.flatnonzero(known.positive[rows])
        if len(liked) < 3:
            too_short += 1
            continue
        training[rows[liked[-2] :]] = False
        place = liked[-target_from_end]
        seen[rows[place + 1 :]] = False
        targets.append(int(rows[place]))
        before.append(rows[:place])
    whole = known.take(np.flatnonzero(seen))
    index = np.cumsum(seen) - 1
    order = np.argsort(targets, kind="stable").tolist()
    return HeldOut(
        whole,
        training[seen],
        [index[targets[i] : targets[i] + 1] for i in order],
        [index[before[i]] for i in order],
        np.full(len(targets), len(whole), np.int64),
        too_short,
    )


def from_one_moment(known: Events, protocol: Protocol, variant: Variant) -> HeldOut:
    """Splits all users at one point in time, for `next-item` and `future`. Raises TimesMissing."""
    start, end = int(len(known) * TEST_FROM), len(known)
    if variant == "validation":
        start, end = int(len(known) * VALIDATION_FROM), start
    return between(known, protocol, start, end)


def between(known: Events, protocol: Protocol, start: int, end: int) -> HeldOut:
    """Like `from_one_moment`, with training before row `start`, targets before row `end`, and no events after it.

    Raises TimesMissing.
    """
    _require_times(known, protocol)
    whole = known.take(np.arange(end))
    targets: list[Ints] = []
    before: list[Ints] = []
    for rows in whole.by_user():
        positions = np.flatnonzero(whole.positive[rows] & (rows >= start))
        if protocol == "next-item":
            targets += [rows[place : place + 1] for place in positions]
            before += [rows[:place] for place in positions]
        elif len(positions):
            targets.append(rows[positions])
            before.append(rows[rows < start])
    order = np.argsort([rows[0] for rows in targets], kind="stable").tolist()
    targets, before = [targets[i] for i in order], [before[i] for i in order]
    first = np.array([rows[0] for rows in targets], np.int64)
    visible = first if protocol == "next-item" else np.full(len(first), start, np.int64)
    return HeldOut(whole, np.arange(end) < start, targets, before, visible)


def hidden_items(known: Events, name: Hiding, variant: Variant, seed: int) -> HeldOut:
    """Like `next-item`, but some items are hidden: they are in no training event and in no history.

    The targets are the hidden items (`cold-items`), as many other items (`warm-items`), or all other items
    (`shown-items`). Items that a user has consumed are on none of the user's lists, hidden or not.

    Args:
        known: All events.
        name: The protocol.
        variant: Test or validation.
        seed: Chooses the hidden items.

    Raises:
        TimesMissing: The events have no real timestamps.
    """
    _require_times(known, name)
    start = int(len(known) * TEST_FROM)
    if variant == "validation":
        known, start = known.take(np.arange(start)), int(len(known) * VALIDATION_FROM)
    hidden, warm = pools(known, seed)
    late = np.arange(len(known)) >= start
    unseen = np.isin(known.items, hidden)
    asked = {"cold-items": unseen, "warm-items": np.isin(known.items, warm), "shown-items": ~unseen}
    wanted = late & known.positive & asked[name]
    targets: list[Ints] = []
    before: list[Ints] = []
    consumed: list[Ints] = []
    for rows in known.by_user():
        seen = rows[~unseen[rows]]
        for row in rows[wanted[rows]]:
            targets.append(np.array([row], np.int64))
            before.append(seen[seen < row])
            consumed.append(rows[rows < row])
    order = np.argsort([rows[0] for rows in targets], kind="stable").tolist()
    return HeldOut(
        known,
        ~late & ~unseen,
        [targets[i] for i in order],
        [before[i] for i in order],
        np.full(len(targets), len(known), np.int64),
        consumed=[consumed[i] for i in order],
    )


def pools(known: Events, seed: int = 0) -> tuple[Ints, Ints]:
    """The hidden items, a tenth of all that occur, and as many other items."""
    items = np.random.default_rng(seed).permutation(np.unique(known.items))
    count = max(1, int(len(items) * HIDDEN))
    return np.sort(items[:count]), np.sort(items[count : 2 * count])


def _require_times(known: Events, name: Name) -> None:
    if not known.timed:
        raise TimesMissing(
            f"{name} needs one point in time for all users, but these events have no times: use leave-one-out"
        )
