"""Which rows changed lately."""

from collections import deque
from itertools import islice


class ChangeLog:
    """The newest changes by row. `generation` counts all changes ever; caches remember the one they were
    made at, and ask what changed since."""

    def __init__(self, kept: int = 4096) -> None:
        self.generation = 0
        self._rows: deque[int] = deque(maxlen=kept)

    def note(self, row: int) -> None:
        """The row was added or changed."""
        self.generation += 1
        self._rows.append(row)

    def since(self, generation: int) -> frozenset[int] | None:
        """Rows that changed after that generation; None: more than are remembered."""
        count = self.generation - generation
        if count > len(self._rows):
            return None
        return frozenset(islice(reversed(self._rows), count))
