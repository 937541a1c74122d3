"""What the stages of ranking are. Each works on a batch of queries, and answers with one value a query, in order.

A batch is what is due at the same moment. Stages are shared by all batches and hold no state of a query. Only
hydration and scorers ask the model, within a budget; everything else is arithmetic on the catalogue's arrays.
"""

from collections.abc import Sequence
from typing import Protocol

from ranking.candidates import Candidates, Scored, Scores, Selection
from ranking.deadline.budget import Budget
from ranking.query import HydratedQuery, Mask, Query, Rows
from ranking.slate.ranked import Ranked
from recstream.v1 import slate_pb2

Queries = Sequence[HydratedQuery]


class QueryHydrator(Protocol):
    """Looks up what the other stages need to know of the users."""

    async def hydrate(self, queries: Sequence[Query], budget: Budget) -> list[HydratedQuery]:
        """The queries, hydrated within the budget. Never raises because the model fails."""


class Filter(Protocol):
    """One rule on which items may be listed.

    It is a mask before the sources retrieve, so that a list stays full however strict the rule is. It is asked again
    about the scored candidates, because the catalogue may have changed while the model was at work.
    """

    def masks(self, queries: Queries, size: int) -> Sequence[Mask]:
        """For each query which catalogue rows below `size` may be listed, bool [size]. Queries may share an array,
        and nobody writes to it."""

    def still_allowed(self, queries: Queries, rows: Sequence[Rows]) -> Sequence[Mask]:
        """For each query which of its candidates' rows [m] may still be listed, bool [m]."""


class Source(Protocol):
    """One idea of what a user might want.

    name: what slates and metrics call it; one of `ranking.metrics.SOURCES`.
    """

    @property
    def name(self) -> str: ...

    async def retrieve(self, queries: Queries, allowed: Sequence[Mask]) -> list[Rows]:
        """For each query catalogue rows, int64, best first, each once, all of them allowed (bool [n]). As many as the
        surface asks for, or as there are; none where the source has nothing to go by."""


class CandidateHydrator(Protocol):
    """Looks up what scorers and reasons need to know of the candidates."""

    def hydrate(self, queries: Queries, candidates: Sequence[Candidates]) -> list[Candidates]:
        """The candidates of each query with their vectors."""


class Scorer(Protocol):
    """One step of the deadline ladder.

    name: what metrics call it; one of `ranking.metrics.FALLBACKS_FROM`, unless it is the last step.
    """

    @property
    def name(self) -> str: ...

    def applies(self, query: HydratedQuery, candidates: Candidates) -> bool:
        """Whether it can score for this query at all. Where not, the next step is no fallback."""

    async def score(
        self, queries: Queries, candidates: Sequence[Candidates], budget: Budget
    ) -> Sequence[Scores | None]:
        """For each query scores of its candidates; None: there is no usable score, so that the next step is taken.

        Every query is one to which the scorer applies. Raises ModelUnavailable if it has none for any query.
        """


class Selector(Protocol):
    """Decides which candidates are listed, and in which order."""

    def select(self, queries: Queries, scored: Sequence[Scored]) -> list[Selection]:
        """For each query min(count, m) of its m candidates, each once."""


class Explanations(Protocol):
    """Reasons of a batch that are being looked up."""

    async def reasons(
        self, scored: Sequence[Scored], selections: Sequence[Selection], seconds: float
    ) -> list[list[slate_pb2.Reason]]:
        """For each query a reason for each listed item. Waits for the model at most so many seconds."""

    def cancel(self) -> None:
        """Gives up on them: nobody will ask."""


class Explainer(Protocol):
    """Says why items are listed, without holding up a list."""

    def begin(self, queries: Queries, budget: Budget) -> Explanations:
        """Starts what it asks of the model, so that it is under way while candidates are retrieved and scored."""


class SideEffect(Protocol):
    """Something that happens after lists were made, and has no influence on them."""

    def ranked(self, queries: Queries, lists: Sequence[Ranked], seconds: float) -> None:
        """The lists of the batch, and how long they took. Must not block; what it raises is logged."""
