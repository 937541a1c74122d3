"""Hydrates candidates with their vectors, under the model version of each user's state."""

from collections.abc import Sequence
from dataclasses import replace

from catalog.in_memory import InMemoryCatalog
from ranking.candidates import Candidates
from ranking.query import HydratedQuery


class CandidateVectors:
    """Looks up the candidates' vectors in the catalogue."""

    def __init__(self, catalog: InMemoryCatalog) -> None:
        self._catalog = catalog

    def hydrate(self, queries: Sequence[HydratedQuery], candidates: Sequence[Candidates]) -> list[Candidates]:
        """See `CandidateHydrator.hydrate`. Candidates of a query without a user are unchanged."""
        return [
            each
            if query.user is None
            else replace(each, vectors=self._catalog.vectors(query.user.version, each.rows))
            for query, each in zip(queries, candidates, strict=True)
        ]
