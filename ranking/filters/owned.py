"""The filter of the user's own items."""

from collections.abc import Sequence

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.query import HydratedQuery, Mask, Rows


class Owned:
    """Leaves out the items whose owner is the user, by the attributes in `ActiveRules.owner_fields`."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def masks(self, queries: Sequence[HydratedQuery], size: int) -> Sequence[Mask]:
        """See `Filter.masks`."""
        masks = []
        for query in queries:
            mask = np.ones(size, np.bool_)
            for rows in self._owned(query):
                mask[rows[rows < size]] = False
            masks.append(mask)
        return masks

    def still_allowed(self, queries: Sequence[HydratedQuery], rows: Sequence[Rows]) -> Sequence[Mask]:
        """See `Filter.still_allowed`."""
        allowed = []
        for query, some in zip(queries, rows, strict=True):
            mask = np.ones(len(some), np.bool_)
            for owned in self._owned(query):
                mask &= ~np.isin(some, owned)
            allowed.append(mask)
        return allowed

    def _owned(self, query: HydratedQuery) -> list[Rows]:
        user_id = query.request.user_id
        return [self._catalog.having(field, user_id) for field in query.rules.owner_fields]
