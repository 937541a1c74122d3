"""Lists that were made elsewhere, judged like any other row; and some of a split's asks, evenly spread."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evaluation.method import Asks
from evaluation.protocols.split import Split
from models.data.events import Floats, Ints


def sampled(split: Split, count: int) -> Split:
    """The split with `count` of its asks at most, evenly spread over all of them, which are in order of time."""
    asks = split.asks
    if count >= len(asks):
        return split
    places = np.linspace(0, len(asks) - 1, count).round().astype(np.int64)

    def some(of_each: Sequence[Ints]) -> list[Ints]:
        return [of_each[place] for place in places.tolist()]

    return replace(
        split,
        asks=Asks(asks.users[places], some(asks.before), asks.time_ms[places], asks.visible[places]),
        relevant=some(split.relevant),
        off_lists=None if split.off_lists is None else some(split.off_lists),
    )


class Listed:
    """A row of lists of which nothing but the order is known. What is not on a list is nowhere."""

    def __init__(self, name: str, split: Split, lists: Sequence[Ints]) -> None:
        """lists: for each ask of the split items, best first, none twice. Raises ValueError where there are more or
        fewer lists than asks."""
        self.name, self._items = name, len(split.known.item_ids)
        self._lists = dict(zip(_keys(split.asks), lists, strict=True))

    def scores(self, asks: Asks) -> Floats:
        """[b, items]: how many places are behind, -inf for what is not listed."""
        found = np.full((len(asks), self._items), -np.inf, np.float32)
        for place, key in enumerate(_keys(asks)):
            items = self._lists[key]
            found[place, items] = np.arange(len(items), 0, -1)
        return found


def _keys(asks: Asks) -> list[tuple[int, int]]:
    """What tells the asks of a split apart: nobody is asked for twice at the same place of the events."""
    return list(zip(asks.users.tolist(), asks.visible.tolist(), strict=True))
