"""The selector: from scores to positions.

It orders candidates by score, limits the share of one main category, applies the rules, and gives a few positions to
new items. Each of these moves items but never shortens a list. Nothing is random, so the same scores give the same
list. Scores that are not finite come last, as in xai-org/x-algorithm's selector.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from ranking.candidates import Scored, Selection
from ranking.metrics import count_rules
from ranking.query import HydratedQuery, Mask
from ranking.rules.boosts import boosted, strongest
from ranking.rules.candidate_rules import NO_CANDIDATE_RULES, CandidateRules, candidate_rules
from ranking.rules.diversity import diversified
from ranking.rules.placement import BY_PIN, Quota, place
from ranking.settings import SurfaceSettings
from ranking.sources.fresh import is_fresh
from recstream.v1 import slate_pb2

Order = NDArray[np.int64]


class TopSelector:
    """Selects by the surface's `category_share` and `exploration_share`, and by the rules."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def select(self, queries: Sequence[HydratedQuery], scored: Sequence[Scored]) -> list[Selection]:
        """See `Selector.select`."""
        return [self._select(query, each) for query, each in zip(queries, scored, strict=True)]

    def _select(self, query: HydratedQuery, scored: Scored) -> Selection:
        rows = scored.candidates.rows
        selection = select(
            scored.scores.values,
            lambda index: self._catalog.item_id(rows[index]),
            self._catalog.main_category(rows),
            is_fresh(self._catalog.published_ms[rows], query.now_ms, query.settings.fresh_days),
            query.request.count,
            query.settings,
            candidate_rules(self._catalog, query, scored.candidates),
        )
        count_rules(query, selection.missed)
        return selection


def select(
    scores: NDArray[np.float64],
    item_id: Callable[[int], str],
    categories: NDArray[np.int64],
    fresh: Mask,
    count: int,
    settings: SurfaceSettings,
    rules: CandidateRules = NO_CANDIDATE_RULES,
) -> Selection:
    """Selects min(count, m) of m candidates.

    Args:
        scores: float64 [m]. Candidates whose score is not finite come last.
        item_id: Returns the item id of a candidate by its index. Breaks ties, and is called for no other candidates.
        categories: Codes of main categories, int64 [m]. Negative: the item has none, and no cap applies.
        fresh: Whether the item is new and may get an exploration position, bool [m].
        count: Length of the list.
        settings: The settings of the surface.
        rules: The rules of the list.
    """
    values = boosted(scores, rules.boosts, rules.rotation)
    order = by_score(values, item_id)
    length = min(count, len(order))
    finite = int(np.isfinite(values).sum())
    head, rest = order[:finite], order[finite:]
    if rules.diversity:
        head = head[diversified(values[head], rules.vectors[head], rules.diversity, length)]
    if settings.category_share < 1:
        head = capped(head, categories, max(1, ceil(settings.category_share * length)))
    exploration = Quota(fresh & np.isfinite(values), floor(settings.exploration_share * length))
    placement = place(
        np.concatenate([head, rest]),
        length,
        pins=rules.pins,
        caps=rules.caps,
        quotas=(*rules.promotions, exploration),
    )
    chosen = placement.chosen
    by_rule = {BY_PIN: (slate_pb2.REASON_KIND_PINNED, "")}
    for index, name in enumerate(rules.promotion_names):
        by_rule[index] = (slate_pb2.REASON_KIND_PROMOTED, name)
    by_rule[len(rules.promotions)] = (slate_pb2.REASON_KIND_FRESH, "")
    placed = [
        by_rule.get(by, (slate_pb2.REASON_KIND_UNSPECIFIED, boost))
        for by, boost in zip(placement.placed_by.tolist(), strongest(rules.boosts, chosen), strict=True)
    ]
    return Selection(
        chosen,
        values[chosen],
        tuple(kind for kind, _ in placed),
        tuple(name for _, name in placed),
        {
            "pin": rules.pins_missed,
            "cap": placement.exceeded,
            "promotion": sum(index < len(rules.promotions) for index in placement.missed),
            "diversity": int(rules.diversity > 0 and not rules.vectors.shape[1]),
        },
    )


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
