"""Which member of a teacher has not learned from a user's events, and so may tell of them.

Who has learned an event by heart says of it what happened, and no more than that: its student would learn by heart too.
So each member is trained without the users of its own fold, and of these it alone tells (cross-fitting, compare
Dao et al. 2021, "Knowledge Distillation as Semiparametric Inference", arXiv:2104.09732). A single member has learned
from everybody.
"""

import zlib
from collections.abc import Callable

import numpy as np

from models.data import Events, Ints
from models.windows import Window, training_windows


def folds(events: Events, users: Ints, members: int) -> Ints:
    """The member whose fold each of these users (indices) is in, by a hash of his id: the same in any part of any
    events."""
    ids = [events.user_ids[user] for user in users]
    return np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) % members for name in ids], np.int64)


def windows_without(
    fold: int, members: int, history: int, refold_every: int
) -> Callable[[Events, np.random.Generator], list[Window]]:
    """For `fit_encoder`: windows in which every event is foretold once, of the users of other folds."""

    def windows(events: Events, rng: np.random.Generator) -> list[Window]:
        by_user = [rows for rows in events.by_user() if len(rows)]
        own = folds(events, events.users[[rows[0] for rows in by_user]], members)
        others = (rows for rows, place in zip(by_user, own, strict=True) if place != fold)
        return [window for rows in others for window in training_windows(rows, history, refold_every, rng)]

    return windows
