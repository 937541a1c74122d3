"""What is compared: anything that can score items for a user at a moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.data.events import Floats, Ints


@dataclass(frozen=True, slots=True)
class EvalQueries:
    """b lists to be made, of a split's `known` events.

    users: indices of users, int64 [b].
    before: for each query its user's history, rows of `known`, oldest first, perhaps empty.
    time_ms: when the list is asked for, Unix milliseconds, int64 [b].
    visible: rows of `known` below this one may enter statistics, int64 [b]: those of `Split.training` alone, unless the
        protocol counts live.
    excluded: for each query the rows of its user's events whose items must not be listed, unless their action may
        repeat; None: those of the history.
    """

    users: Ints
    before: Sequence[Ints]
    time_ms: Ints
    visible: Ints
    excluded: Sequence[Ints] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, indices: Sequence[int]) -> "EvalQueries":
        """The queries of these indices, in their order."""
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
        """All of them in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.part(start, start + size)


class Method(Protocol):
    """One row of the tables of results."""

    @property
    def name(self) -> str:
        """As tables name it."""
        ...

    def scores(self, queries: EvalQueries) -> Floats:
        """Scores of all items for each query, float32 [b, items]: higher is better, and -inf is never listed. What a
        user has consumed need not be left out: `measure` does so for all methods alike."""
        ...
