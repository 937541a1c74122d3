"""A row on a split: every list made and judged, in full ranking."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.method import Row
from evaluation.metrics.accuracy import NAMES, Numbers, judged, places
from evaluation.metrics.beyond import Beyond, top_lists
from evaluation.protocols.split import Split
from models.data.events import Floats, Ints

AT = 10
_LISTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """A row's figures on a split. figures [asks, len(NAMES)]. inside, discounts [targets]: of each relevant item, in
    the order of the asks, the chance to be among the first ten and its expected discount there (0 past them)."""

    name: str
    figures: Numbers
    inside: Numbers
    discounts: Numbers
    coverage: float
    novelty: float
    diversity: float

    def figure(self, name: str) -> Numbers:
        """One figure of each ask, such as `ndcg@10`."""
        values: Numbers = self.figures[:, NAMES.index(name)]
        return values


def measure(
    split: Split, row: Row, beyond: Beyond | None = None, advance: Callable[[int], None] = lambda done: None
) -> Measured:
    """Asks the row for every list of the split. What a user has taken is left out of all lists alike. `advance` is
    told of each part how many lists it was.

    Raises ValueError where a row's scores have another shape than asked for.
    """
    parts: list[tuple[Numbers, Numbers, Numbers, Ints]] = []
    for scores, relevant in _lists(split, row):
        found = places(scores, relevant)
        figures = judged(found, len(relevant))
        parts.append((figures, found.inside(AT), found.discounts(AT), top_lists(scores, AT)))
        advance(len(relevant))
    figures, inside, discounts, lists = (np.concatenate(each) for each in zip(*parts, strict=True))
    beyond = beyond or Beyond(split)
    return Measured(
        row.name, figures, inside, discounts,
        beyond.coverage(lists), beyond.novelty(lists), beyond.diversity(lists),
    )  # fmt: skip


def ndcg(split: Split, row: Row) -> float:
    """Mean NDCG@10 alone: what parameters are chosen by."""
    place = NAMES.index(f"ndcg@{AT}")
    parts = [
        judged(places(scores, relevant), len(relevant))[:, place] for scores, relevant in _lists(split, row)
    ]
    return float(np.concatenate(parts).mean())


def _lists(split: Split, row: Row) -> Iterator[tuple[Floats, Sequence[Ints]]]:
    """Scores of some asks without what their users have taken, and what is relevant to each; till all are through."""
    start = 0
    for asks in split.asks.parts(_LISTS_AT_ONCE):
        scores = row.scores(asks)
        if scores.shape != (len(asks), len(split.known.item_ids)):
            raise ValueError(f"{row.name} gave scores of shape {scores.shape} for {len(asks)} lists")
        scores = scores.astype(np.float32)
        for place in range(len(asks)):
            scores[place, split.taken(start + place)] = -np.inf
        yield scores, split.relevant[start : start + len(asks)]
        start += len(asks)


def mean(seeds: Sequence[Measured]) -> Measured:
    """One row over several seeds: the mean of each figure of each ask."""
    return Measured(
        seeds[0].name,
        np.mean([each.figures for each in seeds], axis=0),
        np.mean([each.inside for each in seeds], axis=0),
        np.mean([each.discounts for each in seeds], axis=0),
        float(np.mean([each.coverage for each in seeds])),
        float(np.mean([each.novelty for each in seeds])),
        float(np.mean([each.diversity for each in seeds])),
    )
