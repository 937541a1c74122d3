"""New items have their places on a list, the best of them, and no more."""

import numpy as np

from evaluation.method import EvalQueries
from evaluation.methods.exploration import WithExploration, without_events
from evaluation.protocols.split import split
from models.data.events import Floats
from tests.evaluation.world import crowd, known

EVENTS = known(crowd(users=60, items=40))


class ByNumber:
    """The item with the highest index first; of some, nothing is known."""

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
    """Before anybody has done anything."""
    zeros = np.zeros(count, np.int64)
    return EvalQueries(zeros, [zeros[:0]] * count, zeros, zeros)


def test_the_best_new_item_takes_the_last_place() -> None:
    row = WithExploration(ByNumber(), np.array([1, 3, 5]), 0.1, 10)
    assert row.name == "by number, with exploration"
    assert first(row, nobody(), 10) == [[39, 38, 37, 36, 35, 34, 33, 32, 31, 5]]
    assert np.isfinite(row.scores(nobody())).sum() == 10
    two = WithExploration(ByNumber(), np.array([1, 3, 5]), 0.2, 10)
    assert first(two, nobody(), 10) == [[39, 38, 37, 36, 5, 35, 34, 33, 32, 3]]


def test_new_items_that_the_order_lists_itself_count() -> None:
    row = WithExploration(ByNumber(), np.array([5, 36]), 0.1, 10)
    assert first(row, nobody(), 10) == [list(range(39, 29, -1))]


def test_what_is_not_listed_gets_no_place() -> None:
    row = WithExploration(ByNumber(unlisted=10), np.array([5]), 0.1, 10)
    assert first(row, nobody(2), 10) == [list(range(39, 29, -1))] * 2


def test_new_is_what_no_training_event_names() -> None:
    found = split(EVENTS, "cold-items")
    new = without_events(len(EVENTS.item_ids), found.training_events.items)
    assert set(new) == set(range(len(EVENTS.item_ids))) - set(found.training_events.items.tolist())
    assert {item for items in found.relevant for item in items} <= set(new)
