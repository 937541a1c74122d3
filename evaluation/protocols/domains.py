"""Domains beside one another: what one kind of things says about another, and what text alone carries over.

A domain's lists hold its own items, as a request that names its domain has it served; where lists are to be of all
domains, the split's events name the items of all.
"""

from dataclasses import replace

import numpy as np

from evaluation.errors import NothingToMeasure
from evaluation.method import Asks
from evaluation.protocols.split import Split
from models.data.events import Floats, Ints


class Chance:
    """Lists in a random order: all scores are equal, and ties get their expected place."""

    name = "chance"

    def __init__(self, items: int) -> None:
        self._items = items

    def scores(self, asks: Asks) -> Floats:
        """[b, items]."""
        return np.zeros((len(asks), self._items), np.float32)


def only(split: Split, places: Ints) -> Split:
    """The split with these asks alone, in their order."""
    asks = split.asks
    off_lists = split.off_lists
    return replace(
        split,
        asks=Asks(
            asks.users[places], [asks.before[i] for i in places], asks.time_ms[places], asks.visible[places]
        ),
        relevant=[split.relevant[i] for i in places],
        off_lists=None if off_lists is None else [off_lists[i] for i in places],
    )


def about(split: Split, pool: Ints) -> Split:
    """The split with the asks alone for which nothing but items of the pool is to be found. Raises NothingToMeasure."""
    places = [place for place, items in enumerate(split.relevant) if np.isin(items, pool).all()]
    if not places:
        raise NothingToMeasure(f"no list of {len(split.asks):,} asks for one of {len(pool):,} items")
    return only(split, np.array(places, np.int64))


def some(split: Split, count: int, seed: int = 0) -> Split:
    """At most so many of the asks, drawn at random, in their order."""
    if len(split.asks) <= count:
        return split
    drawn = np.random.default_rng(seed).permutation(len(split.asks))[:count]
    return only(split, np.sort(drawn))
