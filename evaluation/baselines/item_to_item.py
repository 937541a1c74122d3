"""Recommenders that score an item by its similarity to the items of the user's history."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.history import History
from evaluation.baselines.interface import Method, Queries
from models.data.events import Floats


class ItemToItem:
    """score(user, j) = sum over the user's history of weight(i) * similarity[i, j].

    `similarity` is float32 [items, items]. `popular` answers for users without a history. It also breaks ties, because
    most items are similar to none of a short history.
    """

    def __init__(self, name: str, similarity: NDArray[np.float32], history: History, popular: Method) -> None:
        self.name = name
        self._similarity, self._history, self._popular = similarity, history, popular

    def scores(self, queries: Queries) -> Floats:
        """[b, items]."""
        found = np.empty((len(queries.users), len(self._similarity)), np.float32)
        for place, rows in enumerate(queries.before):
            items, weights = self._history.weighted(rows)
            np.matmul(weights, self._similarity[items], out=found[place])
        return with_ties_by(found, self._popular.scores(queries))


def with_ties_by(scores: Floats, popularity: Floats) -> Floats:
    """Orders items of equal score by popularity. Both are [b, items].

    A score changes by at most a millionth of the largest score of its row. A row of zeros becomes popularity itself.
    """
    highest = np.abs(scores).max(1, keepdims=True)
    most = np.maximum(np.abs(popularity).max(1, keepdims=True), 1e-30)
    size = np.where(highest > 0, highest * 1e-6, 1.0)
    mixed: Floats = (scores + size * (popularity / most)).astype(np.float32)
    return mixed
