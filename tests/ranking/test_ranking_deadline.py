"""The deadline ladder: every request is answered in time, on the best possible tier."""

import asyncio

import numpy as np
import pytest

from inference.model import Candidates as RankerInput
from profiles.folding.events import Event, Position
from profiles.folding.fold import fold
from profiles.profile import Stored
from recstream.v1 import slate_pb2
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    NOW_MS,
    PROFILES,
    VERSION,
    PaperModel,
    ask,
    ids,
    item,
    loop_time,
    numbered,
    runner,
    user,
    vector,
    with_state,
)

pytestmark = pytest.mark.usefixtures("virtual_time")
RANKED, VECTORS, POPULAR = slate_pb2.TIER_RANKED, slate_pb2.TIER_VECTORS, slate_pb2.TIER_POPULAR


@pytest.fixture
def catalog() -> FilledCatalog:
    made = FilledCatalog(lambda: NOW_MS)
    for n, item_id in enumerate(numbered(30)):
        made.put(item(item_id), vector(n / 10, 1))
        made.popular({item_id: 30 - n})
    return made


def known() -> Stored:
    return with_state(user(("like", "i005")), vector(1))


async def timed(made, stored, within, **fields):
    """The list, and the virtual seconds that it took. They count waits only, not the speed of this machine."""
    started = loop_time()
    ranked = await ask(made, stored, within=within, **fields)
    return ranked, loop_time() - started


@pytest.mark.parametrize("trouble", ["hang", "raise", "fault", "nan", "shape"])
async def test_when_the_model_fails_lists_are_ordered_by_the_users_vector(catalog, trouble):
    model = PaperModel()
    model.trouble = trouble
    ranked, took = await timed(runner(catalog, model), known(), 0.25)
    assert ranked.slate.tier == VECTORS
    assert ranked.slate.model_version == VERSION
    assert took < 0.25
    assert ids(ranked) == [f"i{n:03}" for n in range(29, 19, -1)]


@pytest.mark.parametrize("trouble", ["hang", "raise", "fault"])
async def test_when_the_model_fails_users_without_a_state_get_popular_lists(catalog, trouble):
    model = PaperModel()
    model.trouble = trouble
    ranked, took = await timed(runner(catalog, model), user(("like", "i029")), 0.25)
    assert ranked.slate.tier == POPULAR
    assert ranked.slate.model_version == 0
    assert took < 0.25
    assert ids(ranked) == numbered(10)
    assert {i.reason.kind for i in ranked.slate.items} == {slate_pb2.REASON_KIND_TRENDING}


async def test_a_late_answer_is_not_waited_for(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    assert (await ask(made, known())).slate.tier == RANKED
    model.lasting = 0.4
    ranked, took = await timed(made, known(), 0.2)
    assert ranked.slate.tier == VECTORS
    assert took < 0.2


async def test_past_its_deadline_a_request_gets_a_list_at_once_without_the_model(catalog):
    model = PaperModel()
    ranked = await ask(runner(catalog, model), known(), within=-1)
    assert ranked.slate.tier == VECTORS
    assert len(ids(ranked)) == 10
    assert not model.calls
    assert (await ask(runner(catalog, model), None, within=-1)).slate.tier == POPULAR


async def test_the_tier_rises_as_soon_as_the_model_is_back(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    tiers = []
    for trouble in (None, "raise", "nan", None):
        model.trouble = trouble
        tiers.append((await ask(made, known())).slate.tier)
    assert tiers == [RANKED, VECTORS, VECTORS, RANKED]


async def test_candidates_without_a_finite_score_come_last(catalog):
    model = PaperModel()
    model.trouble = "some_nan"
    ranked = await ask(runner(catalog, model), known(), count=30)
    assert ranked.slate.tier == RANKED
    assert len(ids(ranked)) == 29
    assert all(np.isfinite(i.score) for i in ranked.slate.items)
    assert np.isfinite(ranked.outputs.predicted_values).tolist() == [True] * 14 + [False] * 15
    assert np.isnan(ranked.outputs.probabilities[14:]).all()


async def test_without_the_profile_the_list_is_popular_and_marked(catalog):
    model = PaperModel()
    ranked = await ask(runner(catalog, model), None, unavailable=True)
    assert ranked.slate.tier == POPULAR
    assert ranked.slate.profile_unavailable
    assert not model.calls
    assert ids(ranked) == numbered(10)


async def test_without_a_model_lists_are_popular(catalog):
    assert (await ask(runner(catalog, PaperModel(), manifest=None), known())).slate.tier == POPULAR


async def test_a_stale_state_is_refolded(catalog):
    model = PaperModel()
    stale = with_state(user(("dislike", "i005")), vector(9), stale=True)
    ranked = await ask(runner(catalog, model), stale)
    assert model.calls == ["fold", "rank"]
    assert ids(ranked)[0] == "i000"


async def test_a_state_of_another_version_is_never_used_with_this_ones_vectors(catalog):
    model = PaperModel()
    other = with_state(user(("dislike", "i005")), vector(9), version=VERSION - 1)
    assert ids(await ask(runner(catalog, model), other))[0] == "i000"
    model.trouble = "raise"
    assert (
        await ask(runner(catalog, model), user(("dislike", "i006"), user_id="bob"), user_id="bob")
    ).slate.tier == POPULAR


@pytest.mark.parametrize("bad", [np.full(8, np.nan), np.ones(5)])
async def test_an_invalid_state_is_refolded(catalog, bad):
    model = PaperModel()
    ranked = await ask(runner(catalog, model), with_state(user(("like", "i005")), bad))
    assert "fold" in model.calls
    assert ranked.slate.tier == RANKED


async def test_a_stale_state_that_cannot_be_refolded_in_time_is_used(catalog):
    model = PaperModel()
    model.fold_trouble = "hang"
    ranked, took = await timed(
        runner(catalog, model), with_state(user(("like", "i005")), vector(1), stale=True), 0.3
    )
    assert ranked.slate.tier == RANKED
    assert ids(ranked)[0] == "i029"
    assert took < 0.3


async def test_when_the_model_dies_the_last_fold_of_the_user_is_used_for_the_vectors_tier(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    assert (await ask(made, user(("like", "i005")))).slate.tier == RANKED
    model.trouble = "raise"
    ranked = await ask(made, user(("like", "i005"), ("like", "i006")))
    assert ranked.slate.tier == VECTORS
    assert "i006" not in ids(ranked)


async def test_erased_events_have_no_influence(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    await ask(made, user(("like", "i005")))
    model.trouble = "raise"
    later = Event("ann", Position(b"t" * 16, 0, 9), NOW_MS, "e9", "i007", "like", NOW_MS)
    erased = Stored(2, fold(None, "ann", [later], PROFILES).profile)
    assert (await ask(made, erased)).slate.tier == POPULAR


async def test_an_item_whose_vector_arrived_later_is_in_the_next_fold(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    catalog.put(item("late"))
    stored = user(("dislike", "late"))
    first = ids(await ask(made, stored))
    assert model.calls == ["fold", "rank"]
    await ask(made, stored)
    assert model.calls.count("fold") == 1
    catalog.put(item("late"), vector(5))
    assert ids(await ask(made, stored)) != first
    assert model.calls.count("fold") == 2


async def test_reasons_come_from_the_history_and_are_computed_once_for_it(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    first = (await ask(made, known())).slate
    assert {i.reason.item_id for i in first.items} == {"i005"}
    assert first.items[0].reason.text == "Because of Title of i005"
    again = Stored(known().revision + 5, known().profile)
    assert (await ask(made, again)).slate.items[0].reason.item_id == "i005"
    assert sorted(model.calls) == ["fold", "rank", "rank"]


async def test_reasons_never_delay_a_list(catalog):
    model = PaperModel()
    model.fold_trouble = "hang"
    made = runner(catalog, model, reasons_wait_ms=20)
    ranked, took = await timed(made, known(), 3.0)
    assert ranked.slate.tier == RANKED
    assert took < 1.0
    assert ranked.slate.items[0].reason.kind == slate_pb2.REASON_KIND_TRENDING
    await made.close()


async def test_late_reasons_are_used_for_the_next_list(catalog):
    model = PaperModel()
    made = runner(catalog, model, reasons_wait_ms=0)
    answer = model.fold

    async def slow_fold(*args, **kwargs):
        await asyncio.sleep(0.05)
        return await answer(*args, **kwargs)

    model.fold = slow_fold
    assert (await ask(made, known())).slate.items[0].reason.kind == slate_pb2.REASON_KIND_TRENDING
    await asyncio.sleep(0.2)
    assert (await ask(made, known())).slate.items[0].reason.item_id == "i005"


async def test_a_client_that_goes_away_leaves_no_call_behind(catalog):
    model = PaperModel()
    model.trouble = "hang"
    made = runner(catalog, model)
    before = asyncio.all_tasks()
    asked = asyncio.create_task(ask(made, known()))
    await asyncio.sleep(0.05)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await asyncio.sleep(0.5)
    assert asyncio.all_tasks() == before


async def test_closing_cancels_open_calls(catalog):
    model = PaperModel()
    model.trouble = "hang"
    made = runner(catalog, model)
    before = asyncio.all_tasks()
    await ask(made, known(), within=0.1)
    await made.close()
    assert asyncio.all_tasks() == before


async def test_a_failed_source_is_left_out(catalog):
    search = catalog.search

    def broken(version, query, count, mask):
        raise RuntimeError("the index is broken")

    catalog.search = broken
    made = runner(catalog, PaperModel())
    assert len(ids(await ask(made, known()))) == 10
    catalog.search = search


async def test_the_ranker_gets_ages_and_popularity(catalog):
    seen: list[RankerInput] = []
    model = PaperModel()
    answer = model.rank

    async def rank(version, users, candidates, *, timeout):
        seen.append(candidates)
        return await answer(version, users, candidates, timeout=timeout)

    model.rank = rank
    catalog.put(item("old", published_at_ms=NOW_MS - 5000), vector(99))
    await ask(runner(catalog, model), known())
    assert seen[0].age_seconds.max() == 5
    assert seen[0].age_seconds.min() == -1
    assert seen[0].popularity.max() == 30
    assert seen[0].vectors.dtype == seen[0].age_seconds.dtype == seen[0].popularity.dtype == np.float32
