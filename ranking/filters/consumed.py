"""The filter of consumed items."""

from collections.abc import Sequence

import numpy as np

from ranking.query import HydratedQuery, Mask, Rows


class Consumed:
    """Leaves out the items in `HydratedQuery.consumed`."""

    def masks(self, queries: Sequence[HydratedQuery], size: int) -> Sequence[Mask]:
        """See `Filter.masks`."""
        masks = []
        for query in queries:
            mask = np.ones(size, np.bool_)
            mask[query.consumed[query.consumed < size]] = False
            masks.append(mask)
        return masks

    def still_allowed(self, queries: Sequence[HydratedQuery], rows: Sequence[Rows]) -> Sequence[Mask]:
        """See `Filter.still_allowed`. Consumed items do not change while a list is made."""
        return [np.ones(len(some), np.bool_) for some in rows]
