"""Confidence intervals of means, and of differences of means, by a bootstrap over users.

Lists of one user are not independent, so users are resampled, not lists (Efron and Tibshirani 1993, chapter 8). All
methods of a split get the same samples, so their differences are paired.
"""

import numpy as np

from evaluation.metrics.accuracy import Numbers
from models.data.events import Ints

_AT_ONCE = 4_000_000


class Bootstrap:
    """Bootstrap samples of users, for means over queries."""

    def __init__(self, users: Ints, *, samples: int = 2000, seed: int = 0) -> None:
        """Args:
        users: The user of each query, int64 [queries].
        samples: Number of samples.
        seed: Seed of the samples.
        """
        _, self._user = np.unique(users, return_inverse=True)
        self._queries = np.bincount(self._user)
        self._samples, self._seed = samples, seed

    def interval(self, values: Numbers) -> tuple[float, float]:
        """The 95 % interval of the mean of `values` [queries], by percentiles."""
        return self.intervals(values[:, None])[0]

    def intervals(self, values: Numbers) -> list[tuple[float, float]]:
        """The 95 % interval of the mean of each column of `values` [queries, m]."""
        low, high = np.quantile(self.means(values), [0.025, 0.975], axis=0)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def above(self, one: Numbers, other: Numbers) -> float:
        """Share of samples in which the mean of `one` [queries] is above that of `other`. Equal means count half."""
        differences = self.means((one - other)[:, None])[:, 0]
        return float((differences > 0).mean() + (differences == 0).mean() / 2)

    def means(self, values: Numbers) -> Numbers:
        """Means of `values` [queries, m] in each sample, [samples, m]."""
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
