"""Ranking contexts: moments at which a list could have been requested, with what it should have held."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

_CUTOFFS = 64
_USERS_PER_CUTOFF = 512
# The targets of a moment are within this share of all events after it.
_HORIZON = 0.1


@dataclass(frozen=True, slots=True)
class RankingContexts:
    """n contexts.

    Attributes:
        histories: rows of the user's events before the context, oldest first.
        time_ms: Unix milliseconds [n].
        idle_seconds: seconds since the user's last event [n]; -1 without history.
        targets: rows of the user's later positive events. A training step draws one of them.
    """

    histories: list[Ints]
    time_ms: Ints
    idle_seconds: Floats
    targets: list[Ints]

    def __len__(self) -> int:
        return len(self.histories)


def next_item_contexts(events: Events, held_out: NDArray[np.bool_]) -> RankingContexts:
    """Contexts just before each positive held-out event, which is the target. They are like requests within a session.

    Args:
        events: in ascending time.
        held_out: which of them are held out [rows].
    """
    histories, targets = [], []
    for rows in events.by_user():
        positions = np.flatnonzero(held_out[rows] & events.positive[rows])
        histories += [rows[:position] for position in positions]
        targets += [rows[position : position + 1] for position in positions]
    times = np.array([events.time_ms[rows[0]] for rows in targets], np.int64)
    return _contexts(events, histories, times, targets)


def random_time_contexts(
    events: Events, held_out: NDArray[np.bool_], rng: np.random.Generator
) -> RankingContexts:
    """Contexts at random moments. They are like requests at any time after a user's last visit, or before the first.

    The users at a moment have positive events on new items within the following tenth of all events.

    Args:
        events: in ascending time.
        held_out: which of them are held out [rows]; all later than the others.
        rng: draws moments and users.
    """
    first, count = int(np.argmax(held_out)), len(events)
    histories, times, targets = [], [], []
    by_user = [rows for rows in events.by_user() if len(rows) and rows[-1] > first]
    for cutoff in np.sort(rng.integers(first, count, _CUTOFFS)):
        end = cutoff + int(count * _HORIZON)
        at_cutoff: list[tuple[Ints, Ints]] = []
        for rows in by_user:
            position = int(np.searchsorted(rows, cutoff))
            coming = rows[position : np.searchsorted(rows, end)]
            coming = coming[events.positive[coming]]
            coming = coming[~np.isin(events.items[coming], events.items[rows[:position]])]
            if len(coming):
                at_cutoff.append((rows[:position], coming))
        for user in rng.permutation(len(at_cutoff))[:_USERS_PER_CUTOFF]:
            histories.append(at_cutoff[user][0])
            targets.append(at_cutoff[user][1])
            times.append(events.time_ms[cutoff])
    return _contexts(events, histories, np.array(times, np.int64), targets)


def _contexts(events: Events, histories: list[Ints], time_ms: Ints, targets: list[Ints]) -> RankingContexts:
    idle = [
        (now - events.time_ms[rows[-1]]) / 1000 if len(rows) else -1.0
        for rows, now in zip(histories, time_ms, strict=True)
    ]
    return RankingContexts(histories, time_ms, np.array(idle, np.float32), targets)
