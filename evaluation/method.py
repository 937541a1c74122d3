"""What evaluations compare: anything that can score items for a user at a moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.data.events import Floats, Ints


@dataclass(frozen=True, slots=True)
class EvalQueries:
    """b queries, each for one list. Rows are those of a split's `known` events.

    Attributes:
        users: Indices of users, int64 [b].
        before: For each query, the rows of its user's history, oldest first. May be empty.
        time_ms: When the list is requested, Unix milliseconds, int64 [b].
        visible: Only rows below this one may enter statistics, int64 [b]. Of them, only those of `Split.training`,
            unless the protocol counts live.
        excluded: For each query, the rows of its user's events whose items must not be listed, unless their action may
            repeat. None: those of the history.
    """

    users: Ints
    before: Sequence[Ints]
    time_ms: Ints
    visible: Ints
    excluded: Sequence[Ints] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, indices: Sequence[int]) -> "EvalQueries":
        """The queries of these indices, in this order."""
        some = list(indices)
        return EvalQueries(
            self.users[some],
            [self.before[index] for index in some],
            self.time_ms[some],
            self.visible[some],
            None if self.excluded is None else [self.excluded[index] for index in some],
        )

    def part(self, start: int, end: int) -> "EvalQueries":
        """Queries `start` to `end`."""
        return self.take(range(start, min(end, len(self))))

    def parts(self, size: int) -> Iterator["EvalQueries"]:
        """All queries in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.part(start, start + size)


class Method(Protocol):
    """A method that is compared: one row of the tables of results."""

    @property
    def name(self) -> str:
        """The name that tables show."""
        ...

    def scores(self, queries: EvalQueries) -> Floats:
        """Scores of all items for each query, float32 [b, items]. Higher is better, and -inf is never listed.

        Items that a user has consumed may have a score: `measure` removes them for all methods alike.
        """
        ...
