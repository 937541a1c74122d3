"""The selector of items that the caller names: by score, with nothing moved."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from ranking.candidates import Scored, Selection
from ranking.popularity import Popularity
from ranking.query import HydratedQuery, Rows
from ranking.selector import Order, by_score
from recstream.v1 import slate_pb2


class ScoreOrder:
    """Orders candidates by score, and then those without a score by popularity. Ties are ordered by item id."""

    def __init__(self, catalog: InMemoryCatalog, popularity: Popularity) -> None:
        self._catalog = catalog
        self._popularity = popularity

    def select(self, queries: Sequence[HydratedQuery], scored: Sequence[Scored]) -> list[Selection]:
        """See `Selector.select`."""
        return [self._select(query, each) for query, each in zip(queries, scored, strict=True)]

    def _select(self, query: HydratedQuery, scored: Scored) -> Selection:
        rows = scored.candidates.rows
        known = np.isfinite(scored.scores.values)
        keys = np.where(known, scored.scores.values, self._popularity.scores(query.now_ms, rows))
        order = np.concatenate(
            [self._by_score(keys, part, rows) for part in (np.flatnonzero(known), np.flatnonzero(~known))]
        )[: query.request.count]
        return Selection(
            chosen=order,
            scores=scored.scores.values[order],
            placed_by=(slate_pb2.REASON_KIND_UNSPECIFIED,) * len(order),
            rules=("",) * len(order),
            missed={},
        )

    def _by_score(self, keys: NDArray[np.float64], part: Order, rows: Rows) -> Order:
        """The indices of `part` ordered by their keys."""
        return part[by_score(keys[part], lambda at: self._catalog.item_id(rows[part[at]]))]
