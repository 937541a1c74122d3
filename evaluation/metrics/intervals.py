"""How sure a mean is, and a difference of two: bootstrap over users.

A user's lists hang together, so users are drawn, not lists (Efron and Tibshirani 1993, chapter 8). Every row of a split
is drawn with the same users: differences between rows are paired.
"""

import numpy as np

from evaluation.metrics.accuracy import Numbers
from models.data.events import Ints

_AT_ONCE = 4_000_000


class Bootstrap:
    """Samples of users, for means over queries. users [queries]: whose each query is."""

    def __init__(self, users: Ints, *, samples: int = 2000, seed: int = 0) -> None:
        _, self._user = np.unique(users, return_inverse=True)
        self._queries = np.bincount(self._user)
        self._samples, self._seed = samples, seed

    def interval(self, values: Numbers) -> tuple[float, float]:
        """Of the mean of values [queries]: 95 %, by percentiles."""
        return self.intervals(values[:, None])[0]

    def intervals(self, values: Numbers) -> list[tuple[float, float]]:
        """The same of each column of values [queries, m]."""
        low, high = np.quantile(self.means(values), [0.025, 0.975], axis=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def above(self, one: Numbers, other: Numbers) -> float:
        """Share of samples in which the mean of `one` [queries] is above that of `other`; equal means count half."""
        differences = self.means((one - other)[:, None])[:, 0]
        return float((differences > 0).mean() + (differences == 0).mean() / 2)

    def means(self, values: Numbers) -> Numbers:
        """Means of values [queries, m] in each sample: [samples, m]."""
        users = len(self._queries)
        sums = np.stack([np.bincount(self._user, column, users) for column in values.T], 1)
        rng = np.random.default_rng(self._seed)
        found = []
        step = max(1, _AT_ONCE // users)
        for start in range(0, self._samples, step):
            count = min(step, self._samples - start)
            drawn = rng.multinomial(users, np.full(users, 1 / users), size=count)
            found.append((drawn @ sums) / (drawn @ self._queries)[:, None])
        return np.concatenate(found)
