"""The selector: from scores to positions.

It orders candidates by score, limits the share of one main category, and gives a few positions to new items. Each of
these moves items but never shortens a list. Nothing is random, so the same scores give the same list. Scores that are
not finite come last, as in xai-org/x-algorithm's selector.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from ranking.candidates import Scored, Selection
from ranking.query import HydratedQuery, Mask
from ranking.settings import SurfaceSettings
from ranking.sources.fresh import is_fresh

Order = NDArray[np.int64]


class TopSelector:
    """Selects by the surface's `category_share` and `exploration_share`."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def select(self, queries: Sequence[HydratedQuery], scored: Sequence[Scored]) -> list[Selection]:
        """See `Selector.select`."""
        return [self._select(query, each) for query, each in zip(queries, scored, strict=True)]

    def _select(self, query: HydratedQuery, scored: Scored) -> Selection:
        rows = scored.candidates.rows
        return select(
            scored.scores.values,
            lambda index: self._catalog.item_id(rows[index]),
            self._catalog.main_category(rows),
            is_fresh(self._catalog.published_ms[rows], query.now_ms, query.settings.fresh_days),
            query.request.count,
            query.settings,
        )


def select(
    scores: NDArray[np.float64],
    item_id: Callable[[int], str],
    categories: NDArray[np.int64],
    fresh: Mask,
    count: int,
    settings: SurfaceSettings,
) -> Selection:
    """Selects min(count, m) of m candidates.

    Args:
        scores: float64 [m]. Candidates whose score is not finite come last.
        item_id: Returns the item id of a candidate by its index. Breaks ties, and is called for no other candidates.
        categories: Codes of main categories, int64 [m]. Negative: the item has none, and no cap applies.
        fresh: Whether the item is new and may get an exploration position, bool [m].
        count: Length of the list.
        settings: The settings of the surface.
    """
    order = by_score(scores, item_id)
    length = min(count, len(order))
    if settings.category_share < 1:
        finite = int(np.isfinite(scores).sum())
        head = capped(order[:finite], categories, max(1, ceil(settings.category_share * length)))
        order = np.concatenate([head, order[finite:]])
    positions = floor(settings.exploration_share * length)
    return explored(order, fresh & np.isfinite(scores), length, positions)


def by_score(scores: NDArray[np.float64], item_id: Callable[[int], str]) -> Order:
    """Indices ordered by descending score, ties by item id. Those whose score is not finite come last, by item id."""
    keys = np.where(np.isfinite(scores), -scores, np.inf)
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    level = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(level):
        # Begins and ends of the runs of equal scores.
        begins = level[np.diff(level, prepend=-2) > 1]
        ends = level[np.diff(level, append=len(order) + 1) > 1] + 2
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            order[begin:end] = sorted(order[begin:end].tolist(), key=item_id)
    return order


def capped(order: Order, categories: NDArray[np.int64], cap: int) -> Order:
    """Moves the indices that exceed the cap of their category behind all others. Keeps the order otherwise."""
    codes = categories[order]
    grouped = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[grouped], prepend=codes[grouped][:1] - 1))
    rank = np.empty(len(order), np.int64)
    rank[grouped] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    within = (rank < cap) | (codes < 0)
    return np.concatenate([order[within], order[~within]])


def explored(order: Order, fresh: Mask, length: int, positions: int) -> Selection:
    """Takes the first `length` of the order, and makes sure that at least `positions` of them are fresh, if enough are.

    Fresh items that the order brings by itself count. If there are too few, the next best fresh items replace the last
    items that are not fresh, and are spread evenly over the list.
    """
    listed, rest = order[:length], order[length:]
    missing = positions - int(fresh[listed].sum())
    chosen = rest[fresh[rest]][: max(0, missing)]
    if not len(chosen):
        return Selection(listed, np.zeros(length, np.bool_))
    # Only items that are not fresh give way.
    gives_way = np.flatnonzero(~fresh[listed])[-len(chosen) :]
    kept = np.delete(listed, gives_way)
    spread = np.zeros(length, np.bool_)
    spread[(np.arange(1, len(chosen) + 1) * length) // len(chosen) - 1] = True
    result = np.empty(length, np.int64)
    result[spread], result[~spread] = chosen, kept
    return Selection(result, spread)
