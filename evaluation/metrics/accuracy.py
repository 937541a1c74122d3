"""HR, NDCG, MRR and Recall of lists, as means over all orders that ties leave open.

Where scores are equal the place of an item is chance, and no order of a file or an array may decide it. So each
figure is the expectation over random orders of equal scores, in closed form.
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
    """Where p relevant items stand in their lists. query [p]: which list. above [p]: how many items surely stand above.
    tied [p]: how many share the score, the item itself included; 0: it is not listed at all."""

    query: Ints
    above: Ints
    tied: Ints

    def inside(self, k: int) -> Numbers:
        """Chance of each to be among the first k [p]."""
        return self._mean(np.ones(k))

    def discounts(self, k: int) -> Numbers:
        """Expected 1 / log2(1 + place), 0 past k [p]."""
        return self._mean(1 / np.log2(np.arange(2, k + 2)))

    def _mean(self, worth: Numbers) -> Numbers:
        """Over the places that each may have, of what the first places are worth; those after them, nothing."""
        sums, k = np.concatenate([[0.0], np.cumsum(worth)]), len(worth)
        gained = sums[np.minimum(self.above + self.tied, k)] - sums[np.minimum(self.above, k)]
        mean: Numbers = gained / np.maximum(self.tied, 1)
        return mean


def positions(scores: Floats, relevant: Sequence[Ints]) -> Positions:
    """Of scores [b, items], -inf or NaN for what is not listed; relevant: the items of each list."""
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
    """[queries, len(NAMES)]: each list's figures. gains [p]: how relevant each item is for NDCG, with linear gain; 1.

    The ideal list is made of all relevant items, whether they were listed or not.
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
    """DCG@k of each list's gains from the largest on [queries]."""
    order = np.lexsort((-gains, query))
    starts = np.searchsorted(query[order], np.arange(queries))
    place = np.arange(len(order)) - starts[query[order]]
    counted = np.where(place < k, gains[order] / np.log2(place + 2), 0.0)
    found: Numbers = np.bincount(query[order], counted, queries).astype(np.float64)
    return found


def _first(found: Positions, queries: int) -> tuple[Ints, Ints, Ints]:
    """Of each list the first group of equal scores with a relevant item: how many stand above it, how large it is,
    and how many in it are relevant (0: none is listed) [queries] each."""
    above, tied, count = (np.zeros(queries, np.int64) for _ in range(3))
    listed = np.flatnonzero(found.tied > 0)
    order = listed[np.lexsort((found.above[listed], found.query[listed]))]
    lists, starts = np.unique(found.query[order], return_index=True)
    above[lists], tied[lists] = found.above[order[starts]], found.tied[order[starts]]
    same = found.above[listed] == above[found.query[listed]]
    count += np.bincount(found.query[listed[same]], minlength=queries)
    return above, tied, count


def _of_first(group: tuple[Ints, Ints, Ints], k: int) -> tuple[Numbers, Numbers]:
    """Chance that the first relevant item is among the first k, and its expected reciprocal place [queries] each: in a
    group of t with r relevant the first is at place j with C(t - j, r - 1) / C(t, r)."""
    above, tied, count = group
    none_yet, reciprocal = np.ones(len(above)), np.zeros(len(above))
    for j in range(k):
        left = tied - j
        at_j = none_yet * np.clip(count / np.maximum(left, 1), 0, 1) * ((left > 0) & (above + j < k))
        reciprocal += at_j / (above + j + 1)
        none_yet = none_yet - at_j
    return np.where(count > 0, 1 - none_yet, 0.0), reciprocal
