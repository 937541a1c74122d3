"""The selector: from scores to places.

Three ideas, each of which only ever moves items and never shortens a list: best first, a soft cap on what
one main category may hold, and a few places for new items. As in xai-org/x-algorithm's selector, scores
that are not finite sink to the bottom.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from ranking.query import Mask
from ranking.settings import SurfaceSettings

Order = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Who has the list's places: indices of candidates [k], the first place first, and for each whether
    it owes its place to exploration [k]."""

    chosen: Order
    explored: Mask


def select(
    scores: NDArray[np.float64],
    item_id: Callable[[int], str],
    categories: NDArray[np.int64],
    fresh: Mask,
    count: int,
    settings: SurfaceSettings,
) -> Selection:
    """Which of m candidates take the list's places: min(count, m) of them, none twice.

    scores [m]: not finite is last. item_id: of a candidate by its index; it decides between equal
    scores, and is asked for no others.
    categories [m]: codes of main categories, negative for none, which no cap concerns.
    fresh [m]: new items, which the exploration places are for.
    """
    order = by_score(scores, item_id)
    length = min(count, len(order))
    if settings.category_share < 1:
        finite = int(np.isfinite(scores).sum())
        head = capped(order[:finite], categories, max(1, ceil(settings.category_share * length)))
        order = np.concatenate([head, order[finite:]])
    places = floor(settings.exploration_share * length)
    return explored(order, fresh & np.isfinite(scores), length, places)


def by_score(scores: NDArray[np.float64], item_id: Callable[[int], str]) -> Order:
    """Indices, highest score first; equal scores by item id; not finite last, by item id among themselves."""
    keys = np.where(np.isfinite(scores), -scores, np.inf)
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    level = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(level):
        # Runs of equal scores: where one begins, and where it ends.
        begins = level[np.diff(level, prepend=-2) > 1]
        ends = level[np.diff(level, append=len(order) + 1) > 1] + 2
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            order[begin:end] = sorted(order[begin:end].tolist(), key=item_id)
    return order


def capped(order: Order, categories: NDArray[np.int64], cap: int) -> Order:
    """The same indices; from the `cap + 1`th of a category on, after all that are within their cap."""
    codes = categories[order]
    grouped = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[grouped], prepend=codes[grouped][:1] - 1))
    place = np.empty(len(order), np.int64)
    place[grouped] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    within = (place < cap) | (codes < 0)
    return np.concatenate([order[within], order[~within]])


def explored(order: Order, fresh: Mask, length: int, places: int) -> Selection:
    """The first `length` of the order, of which at least `places` are fresh as far as there are any.

    Fresh items that the order itself brings count. The missing ones are its next best, spread evenly; the
    last of the others give way.
    """
    listed, rest = order[:length], order[length:]
    missing = places - int(fresh[listed].sum())
    chosen = rest[fresh[rest]][: max(0, missing)]
    if not len(chosen):
        return Selection(listed, np.zeros(length, np.bool_))
    # Fresh items that are listed already stay: only others give way.
    gives_way = np.flatnonzero(~fresh[listed])[-len(chosen) :]
    kept = np.delete(listed, gives_way)
    spread = np.zeros(length, np.bool_)
    spread[(np.arange(1, len(chosen) + 1) * length) // len(chosen) - 1] = True
    result = np.empty(length, np.int64)
    result[spread], result[~spread] = chosen, kept
    return Selection(result, spread)
