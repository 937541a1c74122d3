"""Cold-start items: are they recommended, and as well as others?

A tenth of the items is hidden from training and from all histories. The queries are from the last tenth of the events
in time. Every method answers three questions:

- `full`: recall@10 of hidden items among all items, and what chance would reach
- `cold`: recall@10 of hidden items when only hidden items are ranked
- `warm`: recall@10 of as many items that training knows, when only these are ranked

Items that a user has consumed are on none of the user's lists, hidden or not. So both pools are equally large.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.method import EvalQueries, Method
from evaluation.metrics.accuracy import Numbers
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import AT, measure
from evaluation.protocols.held_out import Variant, pools
from evaluation.protocols.split import Split, split
from models.data.events import Events, Floats, Ints
from ranking.settings import DEFAULT_SURFACE


@dataclass(frozen=True, slots=True)
class ColdMethodResult:
    """The result of a method.

    Attributes:
        name: The method.
        recall: Mean recall@10 by question.
        intervals: Its 95 % interval by question.
        of_warm: Recall of `cold` divided by that of `warm`; NaN if one of them is 0.
        of_warm_interval: Its 95 % interval.
    """

    name: str
    recall: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    of_warm: float = float("nan")
    of_warm_interval: tuple[float, float] = (float("nan"), float("nan"))

    def as_dict(self) -> dict[str, object]:
        """JSON values for `--json`."""
        found: dict[str, object] = {"name": self.name} | {
            f"recall@{AT}:{question}": {
                "mean": self.recall[question],
                "interval": list(self.intervals[question]),
            }
            for question in self.recall
        }
        if np.isfinite(self.of_warm):
            found["cold_of_warm"] = {"mean": self.of_warm, "interval": list(self.of_warm_interval)}
        return found


@dataclass(frozen=True, slots=True)
class ColdResult:
    """The results of all methods.

    Attributes:
        hidden: Number of hidden items.
        queries: Number of lists by question.
        chance: Recall@10 of a random order by question.
        rows: The result of each method.
        surface: The surface whose lists the product made.
    """

    hidden: int
    queries: Mapping[str, int]
    chance: Mapping[str, float]
    rows: Sequence[ColdMethodResult]
    surface: str = DEFAULT_SURFACE

    def as_dict(self) -> dict[str, object]:
        """JSON values for `--json`."""
        return {
            "protocol": "cold-items", "surface": self.surface, "hidden": self.hidden,
            "queries": dict(self.queries), "chance": dict(self.chance), "methods": [row.as_dict() for row in self.rows],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColdMethod:
    """A method with its own lists, and the same method ranking all items.

    Attributes:
        lists: For the question that ranks among all items.
        everything: For the questions that rank a pool. An item that the method does not retrieve says nothing about its
            order.
    """

    lists: Method
    everything: Method


def cold_items(
    known: Events,
    rows: Callable[[Split], Sequence[ColdMethod]],
    advance: Callable[[int], None] = lambda done: None,
    *,
    variant: Variant = "test",
    seed: int = 0,
) -> ColdResult:
    """Compares methods on cold-start items.

    Args:
        known: All events.
        rows: Makes the methods for a split, from a model that was trained on the training part of `cold-items`. All
            splits here have that training part.
        advance: Called with the number of lists of each batch.
        variant: Variant of the protocol.
        seed: Chooses the hidden items.

    Raises:
        TimesMissing: The events have no real timestamps.
        NothingToMeasure: There is no target.
    """
    cold_split = split(known, "cold-items", variant, seed)
    warm_split = split(known, "warm-items", variant, seed)
    known = cold_split.known
    hidden, warm = pools(known, seed)
    made = list(zip(rows(cold_split), rows(warm_split), strict=True))
    questions: dict[str, tuple[Split, list[Method]]] = {
        "full": (cold_split, [one.lists for one, _ in made]),
        "cold": (cold_split, [Pooled(one.everything, hidden) for one, _ in made]),
        "warm": (warm_split, [Pooled(other.everything, warm) for _, other in made]),
    }
    figures: list[dict[str, Numbers]] = [{} for _ in made]
    for question, (asked, asked_rows) in questions.items():
        for place, row in enumerate(asked_rows):
            # Methods with different lists may rank all items by the same order, which is measured once.
            same = next(
                (i for i in range(place) if made[i][0].everything is made[place][0].everything), place
            )
            if question != "full" and same < place:
                figures[place][question] = figures[same][question]
            else:
                figures[place][question] = measure(asked, row, advance=advance).figure(f"recall@{AT}")
    samples = {question: Bootstrap(asked.queries.users) for question, (asked, _) in questions.items()}
    return ColdResult(
        len(hidden),
        {question: len(asked.queries) for question, (asked, _) in questions.items()},
        {
            "full": _chance(cold_split, np.arange(len(known.item_ids))),
            "cold": _chance(cold_split, hidden),
            "warm": _chance(warm_split, warm),
        },
        [
            ColdMethodResult(
                one.lists.name,
                {question: float(values.mean()) for question, values in own.items()},
                {question: samples[question].interval(values) for question, values in own.items()},
                *_of_warm(cold_split.queries.users, own["cold"], warm_split.queries.users, own["warm"]),
            )
            for (one, _), own in zip(made, figures, strict=True)
        ],
    )


class Pooled:
    """A method whose lists only hold items of one pool."""

    def __init__(self, row: Method, pool: Ints) -> None:
        self.name, self._row, self._pool = row.name, row, pool

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items], -inf outside the pool."""
        scores = self._row.scores(queries)
        found = np.full_like(scores, -np.inf)
        found[:, self._pool] = scores[:, self._pool]
        return found


class NearestText:
    """Orders items by the similarity of their text to the texts of the liked items. It needs no recommender model.

    `vectors` are the text vectors of the items, [n, w].
    """

    name = "nearest text"

    def __init__(self, known: Events, vectors: Floats) -> None:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._known, self._vectors = known, vectors / np.maximum(lengths, 1e-9)

    def scores(self, queries: EvalQueries) -> Floats:
        """[b, items]: the mean cosine to the liked items of the history; all equal if there is none."""
        liked = [rows[self._known.positive[rows]] for rows in queries.before]
        width = self._vectors.shape[1]
        users = np.stack(
            [
                self._vectors[self._known.items[rows]].mean(0) if len(rows) else np.zeros(width)
                for rows in liked
            ]
        )
        scores: Floats = (users @ self._vectors.T).astype(np.float32)
        return scores


def _of_warm(
    cold_users: Ints, cold: Numbers, warm_users: Ints, warm: Numbers
) -> tuple[float, tuple[float, float]]:
    """Mean of `cold` divided by mean of `warm`, with its interval. The users of both are resampled together."""
    is_cold = np.repeat([1.0, 0.0], [len(cold), len(warm)])
    columns = np.stack([np.concatenate([cold, warm]) * is_cold, is_cold,
                        np.concatenate([cold, warm]) * (1 - is_cold), 1 - is_cold], 1)  # fmt: skip
    if not cold.any() or not warm.any():
        return float("nan"), (float("nan"), float("nan"))
    means = Bootstrap(np.concatenate([cold_users, warm_users])).means(columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (means[:, 0] / means[:, 1]) / (means[:, 2] / means[:, 3])
    low, high = np.quantile(drawn[np.isfinite(drawn)], [0.025, 0.975]).tolist()
    return float(cold.mean() / warm.mean()), (low, high)


def _chance(asked: Split, pool: Ints) -> float:
    """Expected recall@10 of a random order of the pool, without consumed items."""
    free = [len(pool) - np.isin(pool, asked.consumed(place)).sum() for place in range(len(asked.queries))]
    return float(np.mean(np.minimum(1, AT / np.maximum(free, 1))))
