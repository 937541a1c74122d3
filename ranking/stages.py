"""The kinds of stages of ranking. Each takes a batch of queries and returns one value per query, in order.

Stages are shared by all batches and keep no state of a query. Only hydrators, scorers and explainers call the model,
within a budget. Everything else is arithmetic on the catalogue's arrays.
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
    """Looks up what the other stages need to know about the users."""

    async def hydrate(self, queries: Sequence[Query], budget: Budget) -> list[HydratedQuery]:
        """Hydrates the queries within the budget. A model that fails causes no exception."""


class Filter(Protocol):
    """A rule on which items may be listed.

    It is applied as a mask before the sources retrieve, so that a list is full however strict the rule is. It is
    applied again to the scored candidates, because the catalogue may have changed meanwhile.
    """

    def masks(self, queries: Queries, size: int) -> Sequence[Mask]:
        """Returns for each query which catalogue rows below `size` may be listed, bool [size]. Queries may share an
        array, which must not be modified."""

    def still_allowed(self, queries: Queries, rows: Sequence[Rows]) -> Sequence[Mask]:
        """Returns for each query which of its candidates' rows [m] may still be listed, bool [m]."""


class Source(Protocol):
    """One way to find items that a user might want.

    Attributes:
        name: Its name in slates and metrics, one of `ranking.metrics.SOURCES`.
    """

    @property
    def name(self) -> str: ...

    async def retrieve(self, queries: Queries, allowed: Sequence[Mask]) -> list[Rows]:
        """Retrieves candidates for each query.

        Args:
            queries: The queries.
            allowed: Which catalogue rows each query allows, bool [n].

        Returns:
            Distinct allowed catalogue rows for each query, int64, best first. As many as the surface asks for, or as
            there are. None if the source lacks what it needs.
        """


class CandidateHydrator(Protocol):
    """Looks up what scorers and reasons need to know about the candidates."""

    def hydrate(self, queries: Queries, candidates: Sequence[Candidates]) -> list[Candidates]:
        """Returns the candidates of each query with their vectors."""


class Scorer(Protocol):
    """One step of the deadline ladder.

    Attributes:
        name: Its name in metrics, one of `ranking.metrics.FALLBACKS_FROM` unless it is the last step.
    """

    @property
    def name(self) -> str: ...

    def applies(self, query: HydratedQuery, candidates: Candidates) -> bool:
        """Whether it can score this query at all. If not, taking the next step is not counted as a fallback."""

    async def score(
        self, queries: Queries, candidates: Sequence[Candidates], budget: Budget
    ) -> Sequence[Scores | None]:
        """Scores the candidates of each query. The scorer applies to all of the queries.

        Returns:
            Scores for each query. None: there are no usable scores, and the next step is taken.

        Raises:
            ModelUnavailable: There are no scores for any query.
        """


class Selector(Protocol):
    """Decides which candidates are listed, and in which order."""

    def select(self, queries: Queries, scored: Sequence[Scored]) -> list[Selection]:
        """Selects min(count, m) of the m candidates of each query."""


class Explanations(Protocol):
    """The reasons of a batch, while they are being computed."""

    async def reasons(
        self, scored: Sequence[Scored], selections: Sequence[Selection], seconds: float
    ) -> list[list[slate_pb2.Reason]]:
        """Returns a reason for each listed item of each query. Waits for the model for at most this many seconds."""

    def cancel(self) -> None:
        """Cancels the computation. `reasons` will not be called."""


class Explainer(Protocol):
    """Explains why items are listed, without delaying the list."""

    def begin(self, queries: Queries, budget: Budget) -> Explanations:
        """Starts its calls to the model. They run while candidates are retrieved and scored."""


class SideEffect(Protocol):
    """An action after lists are made. It does not change them."""

    def ranked(self, queries: Queries, lists: Sequence[Ranked], seconds: float) -> None:
        """Called with the lists of a batch and the time they took. Must not block. An exception is logged."""
