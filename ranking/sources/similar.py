"""The source of items similar to those that the user liked last."""

from collections.abc import Sequence
from itertools import chain, islice, zip_longest

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.query import HydratedQuery, Mask, Rows


class Similar:
    """Retrieves items similar to each of the user's last positive items (the seeds).

    The neighbours of the seeds are interleaved: first the nearest of each, then the second nearest of each, and so on.
    The seeds are left out.
    """

    name = "similar"

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        """See `Source.retrieve`."""
        return [self._similar(query, mask) for query, mask in zip(queries, allowed, strict=True)]

    def _similar(self, query: HydratedQuery, allowed: Mask) -> Rows:
        none = np.empty(0, np.int64)
        if query.user is None or not query.settings.similar:
            return none
        version = query.user.version
        seeds = [
            (item_id, vector)
            for item_id in islice(query.positives, query.settings.similar_seeds)
            if (vector := self._catalog.vector(version, item_id)) is not None
        ]
        if not seeds:
            return none
        # Similar seeds share neighbours, which count once. So each search finds as many as are wanted in total, and the
        # seeds on top.
        each = query.settings.similar + len(seeds)
        vectors = np.stack([vector for _, vector in seeds])
        found = self._catalog.search_many(version, vectors, [each] * len(seeds), allowed)
        own = {self._catalog.row(item_id) for item_id, _ in seeds}
        interleaved = chain.from_iterable(zip_longest(*(rows.tolist() for rows, _ in found)))
        picked = dict.fromkeys(row for row in interleaved if row is not None and row not in own)
        return np.fromiter(islice(picked, query.settings.similar), np.int64)
