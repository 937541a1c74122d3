"""A stage of the pipeline that is at fault costs the lists what it brings, and not the lists."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ranking.candidates import Candidates, Scored, Scores, Selection
from ranking.deadline.budget import Budget
from ranking.metrics import FALLBACKS, SOURCE_FAILURES
from ranking.query import HydratedQuery, Mask, Rows
from ranking.runner import Runner
from ranking.slate.ranked import Ranked
from recstream.v1 import slate_pb2
from telemetry.faults import FAULTS
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    NOW_MS,
    PaperModel,
    ids,
    item,
    numbered,
    query,
    runner,
    user,
    vector,
    with_state,
)

POPULAR, VECTORS = slate_pb2.TIER_POPULAR, slate_pb2.TIER_VECTORS


@pytest.fixture
def catalog() -> FilledCatalog:
    made = FilledCatalog(lambda: NOW_MS)
    for n, item_id in enumerate(numbered(30)):
        made.put(item(item_id), vector(n / 10, 1))
        made.popular({item_id: 30 - n})
    return made


def with_stage(made: Runner, **stages: object) -> Runner:
    made._stages = replace(made._stages, **stages)  # type: ignore[arg-type]
    return made


async def lists(made: Runner) -> list[Ranked]:
    known = with_state(user(("like", "i005")), vector(1))
    return await made.rank([query(known), query(None, user_id="stranger")])


def faults() -> float:
    return FAULTS.labels("ranking")._value.get()


class BrokenSource:
    """Answers with whatever it is given."""

    name = "nearest"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer  # type: ignore[return-value]


SOME = np.array([1, 2], np.int64)


@pytest.mark.parametrize(
    "answer",
    [
        KeyError("x"),
        None,
        [SOME],
        [SOME, SOME, SOME],
        [SOME, np.array([-1])],
        [np.array([3, 30]), SOME],
        [SOME, None],
    ],
    ids=["raises", "none", "too few lists", "too many", "negative row", "row past the end", "no rows"],
)
async def test_a_source_at_fault_is_left_out_and_the_others_make_the_lists(
    catalog: FilledCatalog, answer: object
) -> None:
    """Elasticsearch PR 111212 and Inception 1548: one retriever's or reranker's wrong answer failed the request."""
    whole = await lists(runner(catalog, PaperModel()))
    before, failures = faults(), SOURCE_FAILURES.labels("nearest")._value.get()
    made = runner(catalog, PaperModel())
    others = [source for source in made._stages.sources if source.name != "nearest"]
    found = await lists(with_stage(made, sources=[BrokenSource(answer), *others]))
    assert [len(ids(each)) for each in found] == [len(ids(each)) for each in whole]
    assert "nearest" not in {each.source for ranked in found for each in ranked.slate.items}
    assert faults() == before + 1 and SOURCE_FAILURES.labels("nearest")._value.get() == failures + 1


class ForbiddenSource:
    """Retrieves everything, allowed or not."""

    name = "nearest"

    async def retrieve(self, queries: Sequence[HydratedQuery], allowed: Sequence[Mask]) -> list[Rows]:
        return [np.arange(len(mask)) for mask in allowed]


async def test_what_a_source_was_not_allowed_to_retrieve_is_not_listed(catalog: FilledCatalog) -> None:
    catalog.put(item("i029", withdrawn=True), vector(9, 1))
    made = with_stage(runner(catalog, PaperModel()), sources=[ForbiddenSource()])
    found = await lists(made)
    assert found and all("i029" not in ids(each) for each in found)
    assert "i005" not in ids(found[0])  # what the user has consumed


class BrokenScorer:
    """Scores with whatever it is given."""

    name = "ranker"

    def __init__(self, answer: Callable[[Sequence[Candidates]], object]) -> None:
        self._answer = answer

    def applies(self, query: HydratedQuery, candidates: Candidates) -> bool:
        return True

    async def score(
        self, queries: Sequence[HydratedQuery], candidates: Sequence[Candidates], budget: Budget
    ) -> Sequence[Scores | None]:
        return self._answer(candidates)  # type: ignore[return-value]


def scores(count: int) -> Scores:
    return Scores(np.zeros(count), slate_pb2.TIER_RANKED, 5)


@pytest.mark.parametrize(
    "answer",
    [
        lambda candidates: None,
        lambda candidates: [scores(len(candidates[0]))],
        lambda candidates: [scores(len(each)) for each in [*candidates, candidates[0]]],
        lambda candidates: [scores(len(each) - 1) for each in candidates],
        lambda candidates: [replace(scores(len(each)), values=np.float64(4.375)) for each in candidates],
        lambda candidates: [replace(scores(1), values=np.zeros((len(each), 1))) for each in candidates],
    ],
    ids=["none", "too few", "too many", "short", "a bare number", "a column"],
)
async def test_a_scorer_that_returns_what_cannot_be_costs_a_tier(
    catalog: FilledCatalog, answer: Callable[[Sequence[Candidates]], object]
) -> None:
    """Elasticsearch PR 111212, and rerankers that return a bare float for one candidate: too few scores, or none."""
    made = runner(catalog, PaperModel())
    better = [scorer for scorer in made._stages.scorers if scorer.name != "ranker"]
    made._ladder = type(made._ladder)([BrokenScorer(answer), *better])
    before, fallbacks = faults(), FALLBACKS.labels("ranker", "fault")._value.get()
    found = await lists(made)
    assert [each.slate.tier for each in found] == [VECTORS, POPULAR]
    assert all(len(ids(each)) == 10 for each in found)
    assert faults() == before + 1 and FALLBACKS.labels("ranker", "fault")._value.get() == fallbacks + 2


class BrokenExplainer:
    """Fails at the step that it is given."""

    def __init__(self, step: str) -> None:
        self._step = step

    def begin(self, queries: Sequence[HydratedQuery], budget: Budget) -> "BrokenExplainer":
        if self._step == "begin":
            raise ZeroDivisionError
        return self

    async def reasons(
        self, scored: Sequence[Scored], selections: Sequence[Selection], seconds: float
    ) -> list[list[slate_pb2.Reason]]:
        if self._step == "reasons":
            raise ZeroDivisionError
        return [[slate_pb2.Reason(text="only one")] for _ in scored]

    def cancel(self) -> None: ...


@pytest.mark.parametrize("step", ["begin", "reasons", "count"])
async def test_an_explainer_at_fault_costs_the_lists_their_reasons_alone(
    catalog: FilledCatalog, step: str
) -> None:
    whole = await lists(runner(catalog, PaperModel()))
    before, fallbacks = faults(), FALLBACKS.labels("reasons", "fault")._value.get()
    found = await lists(with_stage(runner(catalog, PaperModel()), explainer=BrokenExplainer(step)))
    assert [ids(each) for each in found] == [ids(each) for each in whole]
    assert not any(each.reason.text for ranked in found for each in ranked.slate.items)
    assert faults() == before + 1 and FALLBACKS.labels("reasons", "fault")._value.get() == fallbacks + 2


class BrokenFilter:
    """Says of nothing whether it may be listed."""

    def masks(self, queries: Sequence[HydratedQuery], size: int) -> Sequence[Mask]:
        raise ZeroDivisionError

    def still_allowed(self, queries: Sequence[HydratedQuery], rows: Sequence[Rows]) -> Sequence[Mask]:
        raise ZeroDivisionError


async def test_without_a_filter_there_is_no_list(catalog: FilledCatalog) -> None:
    """What may not be listed is not listed because nobody could say so."""
    with pytest.raises(ZeroDivisionError):
        await lists(with_stage(runner(catalog, PaperModel()), filters=BrokenFilter()))
