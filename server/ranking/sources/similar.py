"""Items near what the user liked last."""

from itertools import islice

import numpy as np

from catalog.contents import Contents
from server.ranking.query import Mask, Query, Rows


class Similar:
    """Items near each of the last items that the user spoke for, in turns: the nearest to each, the
    second nearest to each, and so on. The items themselves are not among them."""

    name = "similar"

    def __init__(self, catalog: Contents) -> None:
        self._catalog = catalog

    async def propose(self, query: Query, allowed: Mask) -> Rows:
        """See `Source.propose`."""
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
        # One more for each seed, which is the nearest to itself.
        each = -(-query.settings.similar // len(seeds)) + len(seeds)
        found = [self._catalog.search(version, vector, each, allowed)[0] for _, vector in seeds]
        own = [row for item_id, _ in seeds if (row := self._catalog.row(item_id)) is not None]
        turns = np.argsort(np.concatenate([np.arange(len(rows)) for rows in found]), kind="stable")
        rows = np.concatenate(found)[turns]
        rows = rows[~np.isin(rows, own)]
        _, first = np.unique(rows, return_index=True)
        first.sort()
        return rows[first[: query.settings.similar]]
