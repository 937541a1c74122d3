"""The protocols of published figures, rebuilt to check whether a baseline reaches them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines.interface import Method
from evaluation.metrics.accuracy import NAMES, judged, positions
from models.data.events import Events, Ints

_QUERIES_A_BATCH = 256


@dataclass(frozen=True, slots=True)
class PublishedQueries:
    """Queries, and the relevant items of each. See `evaluation.baselines.interface.Queries` for the other fields."""

    users: Ints
    before: Sequence[Ints]
    time_ms: Ints
    visible: Ints
    relevant: Sequence[Ints]

    def batches(self) -> Iterator["PublishedQueries"]:
        """The same queries in batches."""
        for start in range(0, len(self.users), _QUERIES_A_BATCH):
            part = slice(start, start + _QUERIES_A_BATCH)
            yield PublishedQueries(
                self.users[part],
                self.before[part],
                self.time_ms[part],
                self.visible[part],
                self.relevant[part],
            )


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """A protocol on one data set. Validation and test both train on `training`, bool [rows]."""

    name: str
    known: Events
    training: NDArray[np.bool_]
    validation: PublishedQueries
    test: PublishedQueries


def leave_one_out(known: Events) -> PublishedSplit:
    """The target is each user's last event in the test, and the one before it in the validation, as in S3-Rec (Zhou et
    al. 2020).

    Targets need not be positive. The history of the test includes the target of the validation. All events of users
    with fewer than three are training.
    """
    training = np.ones(len(known), np.bool_)
    validation: list[tuple[Ints, Ints]] = []
    test: list[tuple[Ints, Ints]] = []
    for rows in known.by_user():
        if len(rows) >= 3:
            training[rows[-2:]] = False
            validation.append((rows[:-2], rows[-2:-1]))
            test.append((rows[:-1], rows[-1:]))
    return PublishedSplit(
        "leave-one-out", known, training, _queries(known, validation), _queries(known, test)
    )


def random_eighths(known: Events, seed: int) -> PublishedSplit:
    """A random tenth of each user's events is the test, and another tenth is the validation.

    RecBole splits like this with {'RS': [0.8, 0.1, 0.1]} in random order. Every event is relevant.
    """
    random = np.random.default_rng(seed)
    training = np.ones(len(known), np.bool_)
    validation: list[tuple[Ints, Ints]] = []
    test: list[tuple[Ints, Ints]] = []
    for rows in known.by_user():
        tenth = int(len(rows) * 0.1)
        if tenth:
            drawn = random.permutation(rows)
            judged, tuned, before = drawn[:tenth], drawn[tenth : 2 * tenth], drawn[2 * tenth :]
            training[judged] = training[tuned] = False
            validation.append((np.sort(before), tuned))
            test.append((np.sort(np.append(before, tuned)), judged))
    return PublishedSplit("random 8:1:1", known, training, _queries(known, validation), _queries(known, test))


def measured(row: Method, known: Events, queries: PublishedQueries) -> tuple[float, float]:
    """Mean HR@10 and NDCG@10 over the lists. Items of the history are not listed."""
    parts = []
    for part in queries.batches():
        scores = row.scores(part)
        for place, before in enumerate(part.before):
            scores[place, known.items[before]] = -np.inf
        parts.append(judged(positions(scores, part.relevant), len(part.users)))
    means = np.concatenate(parts).mean(0)
    return float(means[NAMES.index("hr@10")]), float(means[NAMES.index("ndcg@10")])


def _queries(known: Events, parts: Sequence[tuple[Ints, Ints]]) -> PublishedQueries:
    targets = np.array([rows[0] for _, rows in parts], np.int64)
    return PublishedQueries(
        known.users[targets],
        [before for before, _ in parts],
        known.time_ms[targets],
        np.full(len(parts), len(known), np.int64),
        [np.unique(known.items[rows]) for _, rows in parts],
    )
