"""The rows that changed most recently."""

from collections import deque
from itertools import islice


class ChangeLog:
    """The rows of the newest changes, at most `kept` of them.

    `generation` counts all changes so far. A cache stores the generation that it was computed at, and asks which rows
    changed since.
    """

    def __init__(self, kept: int = 4096) -> None:
        self.generation = 0
        self._rows: deque[int] = deque(maxlen=kept)

    def note(self, row: int) -> None:
        """Adds a change: the row is new, or its item changed."""
        self.generation += 1
        self._rows.append(row)

    def since(self, generation: int) -> frozenset[int] | None:
        """Rows that changed after that generation. None: the log no longer reaches back that far."""
        count = self.generation - generation
        if count > len(self._rows):
            return None
        return frozenset(islice(reversed(self._rows), count))
