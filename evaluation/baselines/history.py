"""How much each event of a user counts."""

from dataclasses import dataclass

import numpy as np

from models.data.events import Events, Floats, Ints


@dataclass(frozen=True, slots=True)
class History:
    """Weights of events.

    A positive event weighs 1. In a history, weights are multiplied by 2^(-(later events of the user) / half_life).

    Attributes:
        known: The events.
        other: Weight of an event that is not positive.
        half_life: Number of later events after which a weight halves. None: weights do not decay.
    """

    known: Events
    other: float = 1.0
    half_life: float | None = None

    def weighted(self, rows: Ints) -> tuple[Ints, Floats]:
        """Items and weights of a history, without events of weight 0. `rows`: rows of the events, oldest first."""
        weights = np.where(self.known.positive[rows], 1.0, self.other)
        if self.half_life is not None:
            weights = weights * np.exp2(-np.arange(len(rows) - 1, -1, -1) / self.half_life)
        kept = weights > 0
        return self.known.items[rows][kept], weights[kept].astype(np.float32)

    def training(self, rows: Ints) -> tuple[Ints, Ints, Floats]:
        """Users, items and weights of training rows, without events of weight 0. Weights do not decay."""
        weights = np.where(self.known.positive[rows], 1.0, self.other).astype(np.float32)
        kept = weights > 0
        return self.known.users[rows][kept], self.known.items[rows][kept], weights[kept]
