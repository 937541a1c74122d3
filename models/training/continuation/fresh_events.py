"""What a training learns that continues another: the new events, and among them a sample of the older ones.

Learning what is new alone forgets what was there before; going through a sample of it again is the plainest cure, and
a hard one to beat (rehearsal: Robins 1995; Rolnick et al. 2019, arXiv:1811.11682).
"""

import numpy as np

from models.data.events import Events
from models.data.windows import Window, training_windows
from models.training.continuation.settings import FreshSettings


def chosen_events(events: Events, newest_ms: int, settings: FreshSettings, seed: int) -> Events:
    """All events of users who have one after newest_ms, and of a sample of the others: as many users as would give
    the older stretches that are wanted, `most_users` at most."""
    new = np.zeros(len(events.user_ids), np.bool_)
    new[events.users[events.time_ms > newest_ms]] = True
    there = np.zeros(len(events.user_ids), np.bool_)
    there[events.users] = True
    others = np.flatnonzero(there & ~new)
    wanted = min(len(others), int(np.ceil(settings.rehearsal * new.sum())), settings.most_users)
    new[np.random.default_rng(seed).choice(others, wanted, replace=False)] = True
    return events.take(np.flatnonzero(new[events.users]))


class FreshWindows:
    """The windows of a pass: all that end in events after newest_ms, which are what is to be foretold in them, and
    `rehearsal` times as many of older events."""

    def __init__(self, newest_ms: int, rehearsal: float, history: int, refold_every: int) -> None:
        self._newest_ms, self._rehearsal = newest_ms, rehearsal
        self._lengths = history, refold_every

    def __call__(self, events: Events, rng: np.random.Generator) -> list[Window]:
        """Of events in ascending time."""
        new: list[Window] = []
        older: list[Window] = []
        for rows in events.by_user():
            first = int(np.searchsorted(events.time_ms[rows], self._newest_ms, side="right"))
            new += training_windows(rows, *self._lengths, rng, first)
            older += training_windows(rows[:first], *self._lengths, rng)
        count = min(len(older), round(self._rehearsal * len(new)))
        return new + [older[place] for place in rng.choice(len(older), count, replace=False)]
