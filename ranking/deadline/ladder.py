"""The deadline ladder: the best scorer that answers in time."""

from collections.abc import Sequence

from inference.model import ModelUnavailable
from ranking.candidates import Candidates, Scores
from ranking.deadline.budget import Budget
from ranking.deadline.fallbacks import fall_back
from ranking.query import HydratedQuery
from ranking.stages import Scorer


class Ladder:
    """Scores each query with the first scorer that has usable scores for it.

    A list never mixes the scores of different scorers. The last scorer needs neither a user nor a model. It applies to
    every query and always has scores.
    """

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        """Args:
        scorers: The scorers, best first.
        """
        *self._better, self._last = scorers

    async def score(
        self, queries: Sequence[HydratedQuery], candidates: Sequence[Candidates], budget: Budget
    ) -> list[Scores]:
        """Scores each query's candidates. The last scorer may run after the budget has ended."""
        found: dict[int, Scores] = {}
        for scorer in self._better:
            indices = [
                index
                for index in range(len(queries))
                if index not in found and scorer.applies(queries[index], candidates[index])
            ]
            if indices:
                some = await self._scores(scorer, [(queries[p], candidates[p]) for p in indices], budget)
                found.update((p, each) for p, each in zip(indices, some, strict=True) if each is not None)
        rest = [index for index in range(len(queries)) if index not in found]
        if rest:
            last = await self._last.score([queries[p] for p in rest], [candidates[p] for p in rest], budget)
            found.update((p, each) for p, each in zip(rest, last, strict=True) if each is not None)
        return [found[index] for index in range(len(queries))]

    async def _scores(
        self, scorer: Scorer, asked: Sequence[tuple[HydratedQuery, Candidates]], budget: Budget
    ) -> Sequence[Scores | None]:
        """Returns the scorer's scores. None: it has none, which is counted."""
        queries, candidates = zip(*asked, strict=True)
        try:
            scores = await scorer.score(queries, candidates, budget)
            _check(scores, candidates)
        except Exception as error:  # These queries fall to a lower tier, but get their lists.
            fall_back(scorer.name, error, len(asked))
            return [None] * len(asked)
        for each in scores:
            if each is None:
                fall_back(scorer.name, ModelUnavailable())
        return scores


def _check(scores: Sequence[Scores | None], candidates: Sequence[Candidates]) -> None:
    """Raises ValueError for scores that cannot be those of the candidates."""
    if len(scores) != len(candidates):
        raise ValueError(f"the scorer returned scores for {len(scores)} of {len(candidates)} queries")
    for each, some in zip(scores, candidates, strict=True):
        if each is not None and each.values.shape != (len(some),):
            raise ValueError(f"the scorer returned scores {each.values.shape} of {len(some)} candidates")
