"""Measures a method on a split: makes and judges every list, in full ranking."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.method import Method
from evaluation.metrics.accuracy import NAMES, Numbers, judged, positions
from evaluation.metrics.beyond import Beyond, top_lists
from evaluation.protocols.split import Split
from models.data.events import Floats, Ints

AT = 10
_LISTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of a method on a split. Targets are the relevant items of all queries, in the order of the queries.

    Attributes:
        name: The method.
        figures: The figures of each query, [queries, len(NAMES)].
        inside: The probability of each target to be among the first ten, [targets].
        discounts: The expected discount of each target, with 0 past the first ten, [targets].
        coverage, novelty, diversity: See `evaluation.metrics.beyond`.
    """

    name: str
    figures: Numbers
    inside: Numbers
    discounts: Numbers
    coverage: float
    novelty: float
    diversity: float

    def figure(self, name: str) -> Numbers:
        """One figure of each query, such as `ndcg@10`."""
        values: Numbers = self.figures[:, NAMES.index(name)]
        return values


def measure(
    split: Split,
    row: Method,
    beyond: Beyond | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Measures a method on all queries of a split. Items that a user has consumed are removed from all lists.

    Args:
        split: The split.
        row: The method.
        beyond: Beyond-accuracy metrics of the split. None: they are made here.
        advance: Called with the number of lists of each batch.

    Raises:
        ValueError: The scores have another shape than the method must return.
    """
    parts: list[tuple[Numbers, Numbers, Numbers, Ints]] = []
    for scores, relevant in _lists(split, row):
        found = positions(scores, relevant)
        figures = judged(found, len(relevant))
        parts.append((figures, found.inside(AT), found.discounts(AT), top_lists(scores, AT)))
        advance(len(relevant))
    figures, inside, discounts, lists = (np.concatenate(each) for each in zip(*parts, strict=True))
    beyond = beyond or Beyond(split)
    return Measured(
        row.name, figures, inside, discounts,
        beyond.coverage(lists), beyond.novelty(lists), beyond.diversity(lists),
    )  # fmt: skip


def ndcg(split: Split, row: Method) -> float:
    """Only the mean NDCG@10, by which parameters are chosen."""
    place = NAMES.index(f"ndcg@{AT}")
    parts = [
        judged(positions(scores, relevant), len(relevant))[:, place]
        for scores, relevant in _lists(split, row)
    ]
    return float(np.concatenate(parts).mean())


def _lists(split: Split, row: Method) -> Iterator[tuple[Floats, Sequence[Ints]]]:
    """Yields batches: the scores of queries, without consumed items, and the relevant items of each query."""
    start = 0
    for queries in split.queries.parts(_LISTS_AT_ONCE):
        scores = row.scores(queries)
        if scores.shape != (len(queries), len(split.known.item_ids)):
            raise ValueError(f"{row.name} gave scores of shape {scores.shape} for {len(queries)} lists")
        scores = scores.astype(np.float32)
        for place in range(len(queries)):
            scores[place, split.consumed(start + place)] = -np.inf
        yield scores, split.relevant[start : start + len(queries)]
        start += len(queries)


def mean(seeds: Sequence[Measured]) -> Measured:
    """Averages the results of several seeds: each figure of each query."""
    return Measured(
        seeds[0].name,
        np.mean([each.figures for each in seeds], axis=0),
        np.mean([each.inside for each in seeds], axis=0),
        np.mean([each.discounts for each in seeds], axis=0),
        float(np.mean([each.coverage for each in seeds])),
        float(np.mean([each.novelty for each in seeds])),
        float(np.mean([each.diversity for each in seeds])),
    )
