"""Lists with the places that a surface gives to new items, as ranking/selectors/selector.py has it."""

import numpy as np

from evaluation.method import EvalQueries, Method
from models.data.events import Events, Floats, Ints


class WithExploration:
    """The first ten of a row's lists, of which a share belongs to items without a training event, as far as they are
    listed at all: the best of them by the row's own order take the places of the last of the others.

    Nothing is said of longer lists. What users have taken is left out here too, or else it would hold the places.
    """

    def __init__(self, row: Method, known: Events, new: Ints, share: float, length: int = 10) -> None:
        """new: the items that count as new. share: of the list's places."""
        self.name = f"{row.name}, places for new items"
        self._row, self._known, self._length = row, known, length
        self._new = np.zeros(len(known.item_ids), np.bool_)
        self._new[new] = True
        self._positions = int(share * length)
        self._by_user = known.by_user()

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        found = self._row.scores(queries).copy()
        for own, user, time_ms in zip(found, queries.users.tolist(), queries.time_ms.tolist(), strict=True):
            own[self._consumed(user, time_ms)] = -np.inf
            order = np.argsort(-own, kind="stable")
            order = order[np.isfinite(own[order])]
            listed = self._list(order)
            own[listed] = own[order[0]] + len(listed) - np.arange(len(listed)) if len(listed) else 0
        return found

    def _list(self, order: Ints) -> Ints:
        listed, rest = order[: self._length], order[self._length :]
        missing = self._positions - int(self._new[listed].sum())
        chosen = rest[self._new[rest]][: max(0, missing)]
        if not len(chosen):
            return listed
        gives_way = np.flatnonzero(~self._new[listed])[-len(chosen) :]
        spread = np.zeros(len(listed), np.bool_)
        spread[(np.arange(1, len(chosen) + 1) * len(listed)) // len(chosen) - 1] = True
        result = np.empty_like(listed)
        result[spread], result[~spread] = chosen, np.delete(listed, gives_way)
        return result

    def _consumed(self, user: int, time_ms: int) -> Ints:
        rows = self._by_user[user]
        before = rows[(self._known.time_ms[rows] < time_ms) & ~self._known.repeats[rows]]
        return self._known.items[before]


def without_events(known: Events, training: Ints) -> Ints:
    """Items that none of these rows names."""
    return np.setdiff1d(np.arange(len(known.item_ids)), known.items[training])
