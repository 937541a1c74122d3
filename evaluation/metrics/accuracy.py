"""HR, NDCG, MRR and recall of lists, as means over all orders of equal scores.

Items of equal score have no order, and the order of a file or an array must not decide. So each figure is the
expectation over random orders of equal scores, in closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.events import Floats, Ints

Numbers = NDArray[np.float64]

LENGTHS: Final = (5, 10, 20)
NAMES: Final = tuple(f"{name}@{k}" for k in LENGTHS for name in ("hr", "ndcg", "mrr", "recall"))


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of p relevant items in their lists.

    Attributes:
        query: Index of the list, int64 [p].
        above: Number of items with a higher score, int64 [p].
        tied: Number of items with the same score, the item itself included; 0 if it is not listed, int64 [p].
    """

    query: Ints
    above: Ints
    tied: Ints

    def inside(self, k: int) -> Numbers:
        """Probability of each item to be among the first k, [p]."""
        return self._mean(np.ones(k))

    def discounts(self, k: int) -> Numbers:
        """Expectation of 1 / log2(1 + position) for each item, with 0 past position k, [p]."""
        return self._mean(1 / np.log2(np.arange(2, k + 2)))

    def _mean(self, worth: Numbers) -> Numbers:
        """Mean worth of the positions that each item may have, [p]. Positions past `worth` are worth nothing."""
        sums, k = np.concatenate([[0.0], np.cumsum(worth)]), len(worth)
        gained = sums[np.minimum(self.above + self.tied, k)] - sums[np.minimum(self.above, k)]
        mean: Numbers = gained / np.maximum(self.tied, 1)
        return mean


def positions(scores: Floats, relevant: Sequence[Ints]) -> Positions:
    """Finds the positions of relevant items.

    Args:
        scores: [b, items]; -inf or NaN for items that are not listed.
        relevant: The relevant items of each list.
    """
    query = np.repeat(np.arange(len(relevant)), [len(items) for items in relevant])
    item = np.concatenate([np.zeros(0, np.int64), *relevant])
    above, tied = np.zeros(len(query), np.int64), np.zeros(len(query), np.int64)
    own = scores[query, item]
    listed = np.flatnonzero(np.isfinite(own))
    step = max(1, 16_000_000 // max(1, scores.shape[1]))
    for start in range(0, len(listed), step):
        part = listed[start : start + step]
        lists, score = scores[query[part]], own[part, None]
        # NaN is neither greater nor equal: it is not listed.
        above[part], tied[part] = (lists > score).sum(1), (lists == score).sum(1)
    return Positions(query, above, tied)


def judged(found: Positions, queries: int, gains: Numbers | None = None) -> Numbers:
    """Computes the figures of each list.

    Args:
        found: Positions of the relevant items.
        queries: Number of lists.
        gains: Linear gain of each item for NDCG, [p]. None: 1 each. The ideal list has all relevant items, listed or
            not.

    Returns:
        float64 [queries, len(NAMES)].
    """
    gains = np.ones(len(found.query)) if gains is None else gains
    relevant = np.bincount(found.query, minlength=queries)
    first = _first(found, queries)
    result = np.zeros((queries, len(NAMES)))
    for place, k in enumerate(LENGTHS):
        gained = np.bincount(found.query, gains * found.discounts(k), queries)
        inside = np.bincount(found.query, found.inside(k), queries)
        hit, reciprocal = _of_first(first, k)
        result[:, 4 * place : 4 * place + 4] = np.stack(
            [
                hit,
                gained / np.maximum(_ideal(found.query, gains, queries, k), 1e-12),
                reciprocal,
                inside / np.maximum(relevant, 1),
            ],
            1,
        )
    return result


def _ideal(query: Ints, gains: Numbers, queries: int, k: int) -> Numbers:
    """DCG@k of each list's gains in descending order, [queries]."""
    order = np.lexsort((-gains, query))
    starts = np.searchsorted(query[order], np.arange(queries))
    place = np.arange(len(order)) - starts[query[order]]
    counted = np.where(place < k, gains[order] / np.log2(place + 2), 0.0)
    found: Numbers = np.bincount(query[order], counted, queries).astype(np.float64)
    return found


def _first(found: Positions, queries: int) -> tuple[Ints, Ints, Ints]:
    """The first group of equal scores with a relevant item, for each list.

    Returns:
        The number of items above the group, its size, and its relevant items (0 if none is listed), each [queries].
    """
    above, tied, count = (np.zeros(queries, np.int64) for _ in range(3))
    listed = np.flatnonzero(found.tied > 0)
    order = listed[np.lexsort((found.above[listed], found.query[listed]))]
    lists, starts = np.unique(found.query[order], return_index=True)
    above[lists], tied[lists] = found.above[order[starts]], found.tied[order[starts]]
    same = found.above[listed] == above[found.query[listed]]
    count += np.bincount(found.query[listed[same]], minlength=queries)
    return above, tied, count


def _of_first(group: tuple[Ints, Ints, Ints], k: int) -> tuple[Numbers, Numbers]:
    """Probability that the first relevant item is among the first k, and its expected reciprocal position.

    Both are [queries]. In a group of t items with r relevant ones, the first of these is at position j with probability
    C(t - j, r - 1) / C(t, r).
    """
    above, tied, count = group
    none_yet, reciprocal = np.ones(len(above)), np.zeros(len(above))
    for j in range(k):
        left = tied - j
        at_j = none_yet * np.clip(count / np.maximum(left, 1), 0, 1) * ((left > 0) & (above + j < k))
        reciprocal += at_j / (above + j + 1)
        none_yet = none_yet - at_j
    return np.where(count > 0, 1 - none_yet, 0.0), reciprocal
