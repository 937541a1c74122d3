"""ALS and BPR of `implicit`. Runs in the environment of the baselines, by path."""

from typing import Any

import numpy as np
from exchange import Arrays, Say, histories, serve
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

_FORGOTTEN = 0.05


class Als:
    """Hu, Koren and Volinsky (2008). A user is folded in from the history of the query."""

    def fit(self, arrays: Arrays, parameters: dict[str, Any], say: Say) -> tuple[dict[str, Any], Arrays]:
        self._model = AlternatingLeastSquares(
            factors=parameters["factors"],
            regularization=parameters["regularization"],
            iterations=parameters["iterations"],
            random_state=parameters["seed"],
            num_threads=parameters["threads"],
            dtype=np.float32,
        )
        self._alpha, self._factors = parameters["alpha"], parameters["factors"]
        matrix = self._confidences(training(arrays))
        self._items = matrix.shape[1]
        with threadpool_limits(1, "blas"):
            self._model.fit(matrix, show_progress=False, callback=_notify(parameters["iterations"], say))
        return {}, {"items": self._model.item_factors, "listed": np.diff(matrix.tocsc().indptr) > 0}

    def encode(self, arrays: Arrays) -> Arrays:
        bounds = arrays["bounds"]
        asked = csr_matrix(
            (arrays["weights"], arrays["items"], bounds),
            shape=(len(bounds) - 1, self._items),
            dtype=np.float32,
        )
        asked.sum_duplicates()
        # A confidence is at least 1, however small the weight. So events of almost no weight are left out.
        asked.data[asked.data < _FORGOTTEN] = 0
        asked.eliminate_zeros()
        asked = self._confidences(asked)
        users = np.zeros((len(bounds) - 1, self._factors), np.float32)
        found = np.diff(asked.indptr) > 0
        if found.any():
            with threadpool_limits(1, "blas"):
                users[found] = self._model.recalculate_user(np.arange(int(found.sum())), asked[found])
        return {"users": users, "found": found}

    def _confidences(self, weights: csr_matrix) -> csr_matrix:
        """c = 1 + alpha r, as in the paper."""
        confidences = weights.copy()
        confidences.data = 1 + self._alpha * confidences.data
        return confidences


class Bpr:
    """Rendle et al. (2009).

    With `user` trained, a user of the training part keeps the trained factors, whatever the query's history. Other
    users, and all users with `user` history, are the weighted mean of their history's item factors, scaled to the
    mean norm of trained users. Scores include the items' bias.

    `implicit` samples negatives by popularity, so its scores are relative to popularity. `prior` times the logarithm of
    an item's number of users is added to its bias. At 0 the scores are the library's.
    """

    def fit(self, arrays: Arrays, parameters: dict[str, Any], say: Say) -> tuple[dict[str, Any], Arrays]:
        model = BayesianPersonalizedRanking(
            factors=parameters["factors"],
            learning_rate=parameters["learning_rate"],
            regularization=parameters["regularization"],
            iterations=parameters["iterations"],
            verify_negative_samples=True,
            random_state=parameters["seed"],
            num_threads=parameters["threads"],
            dtype=np.float32,
        )
        matrix = training(arrays)
        model.fit(matrix, show_progress=False, callback=_notify(parameters["iterations"], say))
        self._users, self._items = model.user_factors, model.item_factors
        takers = np.diff(matrix.tocsc().indptr)
        self._items[:, -1] += parameters["prior"] * np.log1p(takers)
        trained = np.diff(matrix.indptr) > 0
        # The last factor of an item is its bias. The last factor of a user is 1.
        self._length = float(np.linalg.norm(self._users[trained, :-1], axis=1).mean())
        self._kept = trained & (parameters["user"] == "trained")
        return {}, {"items": self._items, "listed": takers > 0}

    def encode(self, arrays: Arrays) -> Arrays:
        users = np.zeros((len(arrays["users"]), self._users.shape[1]), np.float32)
        found = np.ones(len(users), np.bool_)
        for place, (user, (items, weights)) in enumerate(
            zip(arrays["users"], histories(arrays), strict=True)
        ):
            if self._kept[user]:
                users[place] = self._users[user]
            elif weights.sum() > 0:
                mean = weights @ self._items[items, :-1]
                users[place, :-1] = mean * (self._length / max(float(np.linalg.norm(mean)), 1e-12))
                users[place, -1] = 1
            else:
                found[place] = False
        return {"users": users, "found": found}


def training(arrays: Arrays) -> csr_matrix:
    """The matrix of users by items. If a pair repeats, its largest weight counts."""
    users, items, weights = arrays["users"], arrays["items"], arrays["weights"]
    order = np.lexsort((-weights, items, users))
    users, items, weights = users[order], items[order], weights[order]
    first = np.ones(len(users), np.bool_)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    shape = int(arrays["user_count"]), int(arrays["item_count"])
    return csr_matrix((weights[first], (users[first], items[first])), shape=shape, dtype=np.float32)


def _notify(iterations: int, say: Say) -> Any:
    every = max(1, iterations // 10)

    def notify(number: int, *_: object) -> None:
        if number % every == 0:
            say(f"iteration {number + 1} of {iterations}")

    return notify


if __name__ == "__main__":
    serve({"als": Als, "bpr": Bpr})
