"""A small data set for the baselines: two kinds of items, and users who keep to one kind."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Ints


@dataclass(frozen=True, slots=True)
class Queries:
    """See `evaluation.baselines.interface.Queries`."""

    users: Ints
    before: Sequence[Ints]
    time_ms: Ints
    visible: Ints


@dataclass(frozen=True, slots=True)
class Trained:
    """See `evaluation.baselines.interface.Training`."""

    name: str
    known: Events
    training: NDArray[np.bool_]


def events_of(rows: Sequence[tuple[int, int, int, bool]], items: int) -> Events:
    """Events (user, item, time in ms, positive) in their order."""
    users, item_column, times, positive = (np.array(column) for column in zip(*rows, strict=True))
    count = len(rows)
    return Events(
        user_ids=[f"u{u}" for u in range(int(users.max()) + 1)],
        item_ids=[f"i{i}" for i in range(items)],
        action_names=("rate",),
        users=users.astype(np.int64),
        items=item_column.astype(np.int64),
        actions=np.zeros(count, np.int64),
        time_ms=times.astype(np.int64),
        values=np.full(count, np.nan, np.float32),
        positive=positive.astype(np.bool_),
        repeats=np.zeros(count, np.bool_),
    )


def two_kinds(users: int = 40, items: int = 20, length: int = 8, held: int = 1) -> tuple[Trained, Queries]:
    """Even users only have items of the first half, odd users only of the second.

    The last `held` events of each user are not trained on. Each user has one query, after the training events.
    """
    random = np.random.default_rng(7)
    half = items // 2
    consumed = [half * (user % 2) + random.permutation(half)[:length] for user in range(users)]
    positions = [(step, user) for step in range(length) for user in range(users)]
    rows = [(user, int(consumed[user][step]), 1000 * n, True) for n, (step, user) in enumerate(positions)]
    training = [step < length - held for step, _ in positions]
    known, mask = events_of(rows, items), np.array(training)
    before = [np.flatnonzero(mask & (known.users == user)) for user in range(users)]
    asked = Queries(
        np.arange(users), before, np.full(users, known.time_ms[-1]), np.full(users, int(mask.sum()))
    )
    return Trained("leave-one-out", known, mask), asked


def share_of_own_kind(scores: NDArray[np.float32], trained: Trained, asked: Queries) -> float:
    """Share of the two best new items of each user that are of the user's kind."""
    half = len(trained.known.item_ids) // 2
    own = []
    for place, user in enumerate(asked.users):
        free = scores[place].copy()
        free[trained.known.items[asked.before[place]]] = -np.inf
        own += [bool(item // half == user % 2) for item in np.argsort(-free)[:2]]
    return float(np.mean(own))
