"""Lists whose positions for new items go to items without a training event."""

import numpy as np

from evaluation.method import EvalQueries, Method
from models.data.events import Floats, Ints
from ranking.rules.placement import Quota, place


class WithExploration:
    """The lists of a method with a share of their positions for new items, by the selector that a server runs.

    A server calls an item new for some days after its publication. Here the caller says which items are new, such as
    those without a training event. The best of them, in the method's own order, take the positions.
    """

    def __init__(self, method: Method, new: Ints, share: float, length: int) -> None:
        """Args:
        method: Lists more items than `length`, since only listed items are explored. It must not list items that the
            user has consumed, because they would take positions.
        new: Indices of the items that count as new.
        share: Share of the list's positions that new items get.
        length: Items of a list.
        """
        self.name = f"{method.name}, with exploration"
        self._method, self._new = method, new
        self._length, self._positions = length, int(share * length)

    def scores(self, queries: EvalQueries) -> Floats:
        """The lists as scores [b, items]; see `RankedLists.scores`."""
        scores = self._method.scores(queries)
        new = np.zeros(scores.shape[1], np.bool_)
        new[self._new] = True
        found = np.full(scores.shape, -np.inf, np.float32)
        for own, listed in zip(scores, found, strict=True):
            order = np.argsort(-own, kind="stable")
            order = order[np.isfinite(own[order])]
            length = min(self._length, len(order))
            exploration = Quota(new, min(self._positions, length))
            listed[place(order, length, quotas=[exploration]).chosen] = np.arange(length, 0, -1)
        return found


def without_events(items: int, training: Ints) -> Ints:
    """Indices of the items without a training event.

    Args:
        items: Number of all items.
        training: The item of each training event.
    """
    return np.setdiff1d(np.arange(items), training)
