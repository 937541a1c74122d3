"""Moments at which a list could have been asked for, with what it should have held."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

_CUTS = 64
_USERS_A_CUT = 512
# A list that is made once is looked at over so long a share of the events.
_HORIZON = 0.1


@dataclass(frozen=True, slots=True)
class Occasions:
    """n moments: the user's rows before it, oldest first, Unix milliseconds, and seconds since the last of those rows
    (-1: there are none). liked: rows of the positive events to come, of which one at random is to be found."""

    before: list[Ints]
    time_ms: Ints
    idle_seconds: Floats
    liked: list[Ints]

    def __len__(self) -> int:
        return len(self.before)


def next_occasions(events: Events, held: NDArray[np.bool_]) -> Occasions:
    """Just before each positive event among `held` [rows], which is what is to be found: what a user asks for who is
    here."""
    before, found = [], []
    for rows in events.by_user():
        places = np.flatnonzero(held[rows] & events.positive[rows])
        before += [rows[:place] for place in places]
        found += [rows[place : place + 1] for place in places]
    times = np.array([events.time_ms[rows[0]] for rows in found], np.int64)
    return _occasions(events, before, times, found)


def later_occasions(events: Events, held: NDArray[np.bool_], rng: np.random.Generator) -> Occasions:
    """At moments out of the blue among `held` [rows, all later than the others]: everybody who likes something within
    the tenth of the events that follows, and whom it finds at any distance from the last visit, or before the
    first."""
    first, count = int(np.argmax(held)), len(events)
    before, times, liked = [], [], []
    by_user = [rows for rows in events.by_user() if len(rows) and rows[-1] > first]
    for cut in np.sort(rng.integers(first, count, _CUTS)):
        end = cut + int(count * _HORIZON)
        at_cut: list[tuple[Ints, Ints]] = []
        for rows in by_user:
            place = int(np.searchsorted(rows, cut))
            coming = rows[place : np.searchsorted(rows, end)]
            coming = coming[events.positive[coming]]
            coming = coming[~np.isin(events.items[coming], events.items[rows[:place]])]
            if len(coming):
                at_cut.append((rows[:place], coming))
        for place in rng.permutation(len(at_cut))[:_USERS_A_CUT]:
            before.append(at_cut[place][0])
            liked.append(at_cut[place][1])
            times.append(events.time_ms[cut])
    return _occasions(events, before, np.array(times, np.int64), liked)


def _occasions(events: Events, before: list[Ints], time_ms: Ints, liked: list[Ints]) -> Occasions:
    idle = [
        (now - events.time_ms[rows[-1]]) / 1000 if len(rows) else -1.0
        for rows, now in zip(before, time_ms, strict=True)
    ]
    return Occasions(before, time_ms, np.array(idle, np.float32), liked)
