"""Baselines that a library computes. A score is the inner product of a user vector and an item vector."""

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.history import History
from evaluation.baselines.interface import Method, Queries
from evaluation.baselines.process import LibraryProcess
from models.data.events import Floats

SCRIPTS = {"als": "factors.py", "bpr": "factors.py", "sasrec": "sasrec.py"}
_ENCODE_SECONDS = 600.0


class LibraryMethod:
    """A fitted baseline of a library. It owns the library's process.

    Users that it knows nothing about get the list of `popular`. For all others, items without a training event are not
    listed (-inf).
    """

    def __init__(
        self,
        name: str,
        process: LibraryProcess,
        items: Floats,
        listed: NDArray[np.bool_],
        history: History,
        popular: Method,
    ) -> None:
        self.name = name
        self._process, self._items, self._listed = process, items, listed
        self._history, self._popular = history, popular

    def scores(self, queries: Queries) -> Floats:
        """[b, items]."""
        parts = [self._history.weighted(rows) for rows in queries.before]
        arrays = {
            "users": np.asarray(queries.users),
            "items": np.concatenate([np.empty(0, np.int64), *(items for items, _ in parts)]),
            "weights": np.concatenate([np.empty(0, np.float32), *(weights for _, weights in parts)]),
            "bounds": np.cumsum([0, *(len(items) for items, _ in parts)]),
        }
        _, answer = self._process.ask("encode", arrays, timeout=_ENCODE_SECONDS)
        popularity = self._popular.scores(queries)
        scores: Floats = answer["users"] @ self._items.T
        scores[:, ~self._listed] = -np.inf
        found = answer["found"].astype(np.bool_)
        scores[~found] = popularity[~found]
        return scores

    def close(self) -> None:
        """Ends its process."""
        self._process.close()
