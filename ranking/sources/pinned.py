"""The source of pinned items."""

from collections.abc import Sequence

import numpy as np

from ranking.query import HydratedQuery, Mask, Rows


class Pinned:
    """Retrieves the items that rules pin, so that they are candidates though no other source finds them."""

    name = "pinned"

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [
            np.array([row for row, _ in query.pins if 0 <= row < len(mask) and mask[row]], np.int64)
            for query, mask in zip(queries, allowed, strict=True)
        ]
