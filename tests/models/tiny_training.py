"""Tiny trainings: settings and data for the tests of several rooms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.settings import TrainSettings
from tests.models.tiny_bundle import text_model


@dataclass(frozen=True)
class Table:
    """Events as columns; see `models.data.events.InteractionTable`."""

    user_ids: list[str]
    item_ids: list[str]
    actions: list[str]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def rows(self, chosen: NDArray[np.int64]) -> "Table":
        """The rows at these positions."""
        return Table(
            [self.user_ids[i] for i in chosen],
            [self.item_ids[i] for i in chosen],
            [self.actions[i] for i in chosen],
            self.time_ms[chosen],
            self.values[chosen],
        )


def tiny_settings(folder: Path, **wanted: Any) -> TrainSettings:
    """Settings of a narrow model with a tiny text encoder, which is written to the folder.

    `wanted` adds settings or replaces them.
    """
    return TrainSettings.model_validate(
        {
            "encoders": {"text_model": str(text_model(folder / "model"))},
            "cache": folder / "vectors",
            "width": 8,
            "channels": 12,
            "hidden": 16,
            "history": 6,
            "refold_every": 4,
            "version": 7,
            "threads": 1,
            **wanted,
        }
    )
