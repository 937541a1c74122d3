"""Selects queries for comparisons between domains, which ask what events of one domain say about another.

A domain's lists hold only its own items, like the answer to a request that names the domain. For lists of all domains,
the split's events must name the items of all.
"""

from dataclasses import replace

import numpy as np

from evaluation.errors import NothingToMeasure
from evaluation.method import EvalQueries
from evaluation.protocols.split import Split
from models.data.events import Floats, Ints


class Chance:
    """Lists in a random order. All scores are equal, so each figure is its expectation over all orders."""

    name = "chance"

    def __init__(self, items: int) -> None:
        self._items = items

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        return np.zeros((len(queries), self._items), np.float32)


def only(split: Split, positions: Ints) -> Split:
    """The split with only these queries, in this order."""
    return replace(
        split,
        queries=split.queries.take(positions.tolist()),
        relevant=[split.relevant[i] for i in positions],
    )


def about(split: Split, pool: Ints) -> Split:
    """The split with only the queries whose relevant items are all in the pool. Raises NothingToMeasure if none is."""
    positions = [place for place, items in enumerate(split.relevant) if np.isin(items, pool).all()]
    if not positions:
        raise NothingToMeasure(
            f"none of {len(split.queries):,} queries has its targets among {len(pool):,} items"
        )
    return only(split, np.array(positions, np.int64))


def some(split: Split, count: int, seed: int = 0) -> Split:
    """The split with at most `count` of its queries, which are drawn at random and stay in order."""
    if len(split.queries) <= count:
        return split
    drawn = np.random.default_rng(seed).permutation(len(split.queries))[:count]
    return only(split, np.sort(drawn))
