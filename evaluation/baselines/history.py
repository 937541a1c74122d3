"""What of a user's past speaks, and how loudly."""

from dataclasses import dataclass

import numpy as np

from models.data.events import Events, Floats, Ints


@dataclass(frozen=True, slots=True)
class History:
    """Weights of events: 1 for a positive one and `other` for any other; in a user's history times
    2^(-(later events of the user) / half_life). half_life None: a long past counts like yesterday.
    """

    known: Events
    other: float = 1.0
    half_life: float | None = None

    def weighted(self, rows: Ints) -> tuple[Ints, Floats]:
        """Items and weights of a history (rows of the events, oldest first), those of no weight left out."""
        weights = np.where(self.known.positive[rows], 1.0, self.other)
        if self.half_life is not None:
            weights = weights * np.exp2(-np.arange(len(rows) - 1, -1, -1) / self.half_life)
        kept = weights > 0
        return self.known.items[rows][kept], weights[kept].astype(np.float32)

    def training(self, rows: Ints) -> tuple[Ints, Ints, Floats]:
        """Users, items and weights of training rows, those of no weight left out. Time does not count."""
        weights = np.where(self.known.positive[rows], 1.0, self.other).astype(np.float32)
        kept = weights > 0
        return self.known.users[rows][kept], self.known.items[rows][kept], weights[kept]
