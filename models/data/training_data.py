"""What a training learns from, in memory or on disk, as its stages ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Ints
from models.data.popularity import PopularityHistory


class Parts(Protocol):
    """Events that are gone through again and again, a part at a time."""

    def parts(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        """All of them once, each user's in one part, and which share of all a part is."""


@dataclass(frozen=True, slots=True)
class ValueScales:
    """Mean and deviation of each action's values, and the range of all."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    range: tuple[float, float]

    @classmethod
    def of(cls, counts: Ints, sums: NDArray[np.float64], squares: NDArray[np.float64],
           range: tuple[float, float]) -> "ValueScales":  # fmt: skip
        """From how many values each action has, their sum and that of their squares. Actions without have mean 0 and
        deviation 1."""
        some = np.maximum(counts, 1)
        means = sums / some
        deviations = np.sqrt(np.maximum(squares / some - means**2, 0))
        deviations = np.where(counts > 0, np.maximum(deviations, 1e-3), 1.0)
        return cls(tuple(means.tolist()), tuple(deviations.tolist()), range)


class Latest(Protocol):
    """The events split in time: what the order of lists is learned from, and what comes before it."""

    @property
    def earlier(self) -> Parts:
        """Those before, to train the encoder on."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which items these name [items]."""

    @property
    def events(self) -> Events:
        """Whole users, of both sides."""

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which of `events` are the later ones."""

    def popularity(self, half_life_days: float) -> PopularityHistory:
        """At moments of the later ones, by all events."""


class Learned(Parts, Protocol):
    """item_ids: by index, whether they have events or not."""

    @property
    def item_ids(self) -> list[str]: ...
    @property
    def action_names(self) -> tuple[str, ...]: ...
    def __len__(self) -> int:
        """Events."""

    def known(self) -> NDArray[np.bool_]:
        """Which items the events name [items]."""

    def scales(self) -> ValueScales:
        """Of the events' values."""

    def newest_ms(self) -> int | None:
        """Time of the latest event, Unix milliseconds; None where times are not real."""

    def latest(self, share: float) -> Latest | None:
        """The latest share of the events; None where that leaves nothing on one side."""

    def sample(self) -> Events:
        """Whole users, as many as memory is meant to hold."""

    def fingerprint(self) -> str:
        """Equal events, equal fingerprint."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """Events that are all there."""

    events: Events

    @property
    def item_ids(self) -> list[str]:
        return self.events.item_ids

    @property
    def action_names(self) -> tuple[str, ...]:
        return self.events.action_names

    def __len__(self) -> int:
        return len(self.events)

    def parts(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        return self.events.parts(rng)

    def known(self) -> NDArray[np.bool_]:
        return named(self.events)

    def scales(self) -> ValueScales:
        return ValueScales.of(*value_sums(self.events))

    def newest_ms(self) -> int | None:
        return int(self.events.time_ms[-1]) if self.events.timed else None

    def latest(self, share: float) -> "LatestInMemory | None":
        """Where times are not real, the last event of every user who has three."""
        held = np.zeros(len(self.events), np.bool_)
        if self.events.timed:
            held[int(len(held) * (1 - share)) :] = share > 0
        elif share:
            held[[rows[-1] for rows in self.events.by_user() if len(rows) >= 3]] = True
        return LatestInMemory(self.events, held) if held.any() and not held.all() else None

    def sample(self) -> Events:
        return self.events

    def fingerprint(self) -> str:
        return self.events.fingerprint()


@dataclass(frozen=True, slots=True)
class LatestInMemory:
    """See `Latest`."""

    events: Events
    held: NDArray[np.bool_]

    @property
    def earlier(self) -> Events:
        return self.events.take(np.flatnonzero(~self.held))

    @property
    def known(self) -> NDArray[np.bool_]:
        return named(self.earlier)

    def popularity(self, half_life_days: float) -> PopularityHistory:
        return PopularityHistory.of(self.events, half_life_days)


def named(events: Events) -> NDArray[np.bool_]:
    """Which items the events name [items]."""
    found = np.zeros(len(events.item_ids), np.bool_)
    found[events.items] = True
    return found


def value_sums(
    events: Events,
) -> tuple[Ints, NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """What ValueScales are made of."""
    rows = np.flatnonzero(np.isfinite(events.values))
    actions, values = events.actions[rows], events.values[rows].astype(np.float64)
    n = len(events.action_names)
    return (
        np.bincount(actions, minlength=n).astype(np.int64),
        np.bincount(actions, values, n).astype(np.float64),
        np.bincount(actions, values**2, n).astype(np.float64),
        (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0),
    )
