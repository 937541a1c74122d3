"""The best new items get their positions on a list, and no more than these."""

import numpy as np

from evaluation.method import EvalQueries
from evaluation.methods.exploration import WithExploration, without_events
from evaluation.protocols.split import split
from models.data.events import Floats
from tests.evaluation.world import crowd, known

EVENTS = known(crowd(users=60, items=40))


class ByNumber:
    """Ranks the item with the highest index first. Does not list the first `unlisted` items."""

    name = "by number"

    def __init__(self, unlisted: int = 0) -> None:
        self._unlisted = unlisted

    def scores(self, queries: EvalQueries) -> Floats:
        scores = np.tile(np.arange(len(EVENTS.item_ids), dtype=np.float32), (len(queries), 1))
        scores[:, : self._unlisted] = -np.inf
        return scores


def first(row: WithExploration, queries: EvalQueries, count: int) -> list[list[int]]:
    return [np.argsort(-scores, kind="stable")[:count].tolist() for scores in row.scores(queries)]


def nobody(count: int = 1) -> EvalQueries:
    """Queries without history, before any event."""
    zeros = np.zeros(count, np.int64)
    return EvalQueries(zeros, [zeros[:0]] * count, zeros, zeros)


def test_the_best_new_item_takes_the_last_position() -> None:
    row = WithExploration(ByNumber(), np.array([1, 3, 5]), 0.1, 10)
    assert row.name == "by number, with exploration"
    assert first(row, nobody(), 10) == [[39, 38, 37, 36, 35, 34, 33, 32, 31, 5]]
    assert np.isfinite(row.scores(nobody())).sum() == 10
    two = WithExploration(ByNumber(), np.array([1, 3, 5]), 0.2, 10)
    assert first(two, nobody(), 10) == [[39, 38, 37, 36, 5, 35, 34, 33, 32, 3]]


def test_new_items_that_are_listed_anyway_count() -> None:
    row = WithExploration(ByNumber(), np.array([5, 36]), 0.1, 10)
    assert first(row, nobody(), 10) == [list(range(39, 29, -1))]


def test_unlisted_items_get_no_position() -> None:
    row = WithExploration(ByNumber(unlisted=10), np.array([5]), 0.1, 10)
    assert first(row, nobody(2), 10) == [list(range(39, 29, -1))] * 2


def test_new_items_have_no_training_event() -> None:
    found = split(EVENTS, "cold-items")
    new = without_events(len(EVENTS.item_ids), found.training_events.items)
    assert set(new) == set(range(len(EVENTS.item_ids))) - set(found.training_events.items.tolist())
    assert {item for items in found.relevant for item in items} <= set(new)
