"""Training data, in memory or on disk, as the stages of a training read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Ints
from models.data.popularity import PopularityHistory


class Chunks(Protocol):
    """Events that are read many times, a chunk at a time."""

    def chunks(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        """All events once, with each chunk's share of them. All events of a user are in one chunk."""


@dataclass(frozen=True, slots=True)
class ValueScales:
    """Scales of the events' values.

    Attributes:
        means: mean of each action's values.
        deviations: standard deviation of each action's values.
        range: the smallest and the largest value of all.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    range: tuple[float, float]

    @classmethod
    def from_sums(
        cls,
        counts: Ints,
        sums: NDArray[np.float64],
        squares: NDArray[np.float64],
        range: tuple[float, float],
    ) -> "ValueScales":
        """Scales from `value_sums`. An action without values has mean 0 and deviation 1."""
        some = np.maximum(counts, 1)
        means = sums / some
        deviations = np.sqrt(np.maximum(squares / some - means**2, 0))
        deviations = np.where(counts > 0, np.maximum(deviations, 1e-3), 1.0)
        return cls(tuple(means.tolist()), tuple(deviations.tolist()), range)


class HeldOutSplit(Protocol):
    """The events, split in time. The encoder trains on the earlier ones, the ranking mixture is fitted to the later."""

    @property
    def earlier(self) -> Chunks:
        """The earlier events."""

    @property
    def seen_items(self) -> NDArray[np.bool_]:
        """Which items occur in the earlier events [items]."""

    @property
    def events(self) -> Events:
        """Whole users, with events of both sides."""

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which of `events` are the later ones [rows]."""

    def popularity(self, half_life_days: float) -> PopularityHistory:
        """Popularity at moments of the later events, by all events."""


class TrainingData(Chunks, Protocol):
    """All that a training reads of its events."""

    @property
    def item_ids(self) -> list[str]:
        """Ids by item index. Some may have no event."""

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names by action index."""

    @property
    def timed(self) -> bool:
        """Whether times are real, so that times of different users can be compared."""

    def __len__(self) -> int:
        """How many events there are."""

    def seen_items(self) -> NDArray[np.bool_]:
        """Which items have events [items]."""

    def scales(self) -> ValueScales:
        """Scales of the events' values."""

    def newest_ms(self) -> int | None:
        """Time of the latest event, Unix milliseconds; None if times are not real."""

    def split_latest(self, share: float) -> HeldOutSplit | None:
        """Holds out the latest share of the events. None if that leaves one side empty."""

    def sample(self) -> Events:
        """Whole users, as many as should be in memory."""

    def fingerprint(self) -> str:
        """Digest of the events: equal events have an equal fingerprint."""


@dataclass(frozen=True, slots=True)
class InMemoryData:
    """Training data that is completely in memory."""

    events: Events

    @property
    def item_ids(self) -> list[str]:
        return self.events.item_ids

    @property
    def action_names(self) -> tuple[str, ...]:
        return self.events.action_names

    @property
    def timed(self) -> bool:
        return self.events.timed

    def __len__(self) -> int:
        return len(self.events)

    def chunks(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        return self.events.chunks(rng)

    def seen_items(self) -> NDArray[np.bool_]:
        return self.events.seen_items()

    def scales(self) -> ValueScales:
        return ValueScales.from_sums(*value_sums(self.events))

    def newest_ms(self) -> int | None:
        return int(self.events.time_ms[-1]) if self.events.timed else None

    def split_latest(self, share: float) -> "InMemorySplit | None":
        """See `TrainingData`. If times are not real, holds out the last event of every user with at least three."""
        held_out = np.zeros(len(self.events), np.bool_)
        if self.events.timed:
            held_out[int(len(held_out) * (1 - share)) :] = share > 0
        elif share:
            held_out[[rows[-1] for rows in self.events.by_user() if len(rows) >= 3]] = True
        return InMemorySplit(self.events, held_out) if held_out.any() and not held_out.all() else None

    def sample(self) -> Events:
        return self.events

    def fingerprint(self) -> str:
        return self.events.fingerprint()


@dataclass(frozen=True, slots=True)
class InMemorySplit:
    """See `HeldOutSplit`."""

    events: Events
    held_out: NDArray[np.bool_]

    @property
    def earlier(self) -> Events:
        return self.events.take(np.flatnonzero(~self.held_out))

    @property
    def seen_items(self) -> NDArray[np.bool_]:
        return self.earlier.seen_items()

    def popularity(self, half_life_days: float) -> PopularityHistory:
        return PopularityHistory.of(self.events, half_life_days)


def value_sums(
    events: Events,
) -> tuple[Ints, NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """The number of each action's values, their sum and the sum of their squares, [actions] each, and the range of all
    values. Sums of several tables can be added."""
    rows = np.flatnonzero(np.isfinite(events.values))
    actions, values = events.actions[rows], events.values[rows].astype(np.float64)
    n = len(events.action_names)
    return (
        np.bincount(actions, minlength=n).astype(np.int64),
        np.bincount(actions, values, n).astype(np.float64),
        np.bincount(actions, values**2, n).astype(np.float64),
        (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0),
    )
