"""What a source is."""

from typing import Protocol

from ranking.query import Mask, Query, Rows


class Source(Protocol):
    """One idea of what a user might want.

    name: what slates and metrics call it; one of a fixed few.
    """

    @property
    def name(self) -> str: ...

    async def propose(self, query: Query, allowed: Mask) -> Rows:
        """Catalogue rows, best first, no row twice, all of them allowed (bool [n]): as many as the
        surface asks for, or as there are. Empty where the source has nothing to go by."""
