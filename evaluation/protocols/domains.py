"""Domains beside one another: what one kind of things says about another, and what text alone carries over.

A domain's lists hold its own items, as a request that names its domain has it served; where lists are to be of all
domains, the split's events name the items of all.
"""

from dataclasses import replace

import numpy as np

from evaluation.errors import NothingToMeasure
from evaluation.method import EvalQueries
from evaluation.protocols.split import Split
from models.data.events import Floats, Ints


class Chance:
    """Lists in a random order: all scores are equal, and ties get their expected place."""

    name = "chance"

    def __init__(self, items: int) -> None:
        self._items = items

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]."""
        return np.zeros((len(queries), self._items), np.float32)


def only(split: Split, positions: Ints) -> Split:
    """The split with these queries alone, in their order."""
    return replace(
        split,
        queries=split.queries.take(positions.tolist()),
        relevant=[split.relevant[i] for i in positions],
    )


def about(split: Split, pool: Ints) -> Split:
    """The split with only the queries whose relevant items are all in the pool. Raises NothingToMeasure."""
    positions = [place for place, items in enumerate(split.relevant) if np.isin(items, pool).all()]
    if not positions:
        raise NothingToMeasure(f"no list of {len(split.queries):,} looks for one of {len(pool):,} items")
    return only(split, np.array(positions, np.int64))


def some(split: Split, count: int, seed: int = 0) -> Split:
    """At most so many of the queries, drawn at random, in their order."""
    if len(split.queries) <= count:
        return split
    drawn = np.random.default_rng(seed).permutation(len(split.queries))[:count]
    return only(split, np.sort(drawn))
