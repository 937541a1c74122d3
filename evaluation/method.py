"""What is compared: anything that can say how well each item suits a user at a moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.data.events import Floats, Ints


@dataclass(frozen=True, slots=True)
class EvalQueries:
    """b lists to be made, of a split's `known` events.

    users: indices [b]. before: rows of `known`, each user's history, oldest first, perhaps empty. time_ms: when the
    list is asked for, Unix milliseconds [b]. visible: rows of `known` below this index may enter statistics [b],
    those of `Split.training` alone unless the protocol counts live.
    """

    users: Ints
    before: Sequence[Ints]
    time_ms: Ints
    visible: Ints

    def __len__(self) -> int:
        return len(self.users)

    def part(self, start: int, end: int) -> "EvalQueries":
        """Queries `start` to `end`."""
        place = slice(start, end)
        return EvalQueries(self.users[place], self.before[place], self.time_ms[place], self.visible[place])

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
        """[b, items], higher is better; what is -inf is never listed. What a user has taken need not be left out: that
        is done for all rows alike."""
        ...
