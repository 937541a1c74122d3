"""Items that the caller names are ranked as lists are, and none is left out."""

import numpy as np
import pytest

from ranking.metrics import CANDIDATES, LISTS, POSITIONS
from ranking.settings import DEFAULT_SURFACE
from recstream.v1 import slate_pb2
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    DAY_MS,
    NOW_MS,
    PaperModel,
    ask,
    ids,
    item,
    numbered,
    runners,
    user,
    vector,
    with_state,
)

LIKED = with_state(user(("like", "i003"), ("click", "i007")), vector(1, -2, 3))


@pytest.fixture
def catalog() -> FilledCatalog:
    made = FilledCatalog(lambda: NOW_MS)
    rng = np.random.default_rng(3)
    for n, item_id in enumerate(numbered(150)):
        # Most are of one category and some are new, so that the default surface moves items.
        fields = {"categories": ["common" if n % 5 else "rare"]}
        if n % 7 == 0:
            fields["published_at_ms"] = NOW_MS - DAY_MS
        made.put(item(item_id, **fields), rng.normal(size=8).astype(np.float32))
    made.popular({item_id: 1 + n % 40 for n, item_id in enumerate(numbered(150))})
    return made


def shuffled(item_ids, seed=0) -> tuple[str, ...]:
    return tuple(np.random.default_rng(seed).permutation(list(item_ids)).tolist())


@pytest.mark.parametrize(
    "stored", [None, LIKED, user(("like", "i003"))], ids=["stranger", "state", "history"]
)
@pytest.mark.parametrize("trouble", [None, "raise"])
async def test_the_order_is_that_of_a_list_without_caps_and_exploration(catalog, stored, trouble):
    model = PaperModel()
    model.trouble = trouble
    made = runners(catalog, model)
    of_list = await ask(made.found, stored, count=60)
    listed = of_list.slate
    wanted = [(i.item_id, i.score, i.reason) for i in listed.items]
    for surface in ("evaluation", DEFAULT_SURFACE):
        item_ids = shuffled(i.item_id for i in listed.items)
        of_given = await ask(made.given, stored, count=60, item_ids=item_ids, surface=surface)
        ranked = of_given.slate
        found = [(i.item_id, i.score, i.reason) for i in ranked.items]
        assert (of_given.outputs is None) == (of_list.outputs is None)
        if of_list.outputs is not None:
            np.testing.assert_array_equal(of_given.outputs.probabilities, of_list.outputs.probabilities)
        assert [each[0] for each in found] == [each[0] for each in wanted]
        assert [each[1] for each in found] == pytest.approx([each[1] for each in wanted])
        assert [each[2:] for each in found] == [each[2:] for each in wanted]
        assert ranked.tier == listed.tier and ranked.model_version == listed.model_version
        assert {i.source for i in ranked.items} == {"given"}


@pytest.mark.parametrize("trouble", [None, "raise"])
async def test_every_known_item_is_ranked_whatever_filters_say(catalog, trouble):
    catalog.put(item("hidden", withdrawn=True), vector(9))
    catalog.put(item("over", expires_at_ms=NOW_MS), vector(8))
    model = PaperModel()
    model.trouble = trouble
    item_ids = ("i003", "nowhere", "over", "hidden", "i005")
    ranked = await ask(runners(catalog, model).given, LIKED, count=5, item_ids=item_ids)
    assert sorted(ids(ranked)) == ["hidden", "i003", "i005", "over"]


async def test_an_item_that_is_withdrawn_while_the_model_runs_is_still_ranked(catalog):
    model = PaperModel()
    answer = model.rank

    async def rank(*args, **kwargs):
        catalog.put(item("i005", withdrawn=True))
        return await answer(*args, **kwargs)

    model.rank = rank
    ranked = await ask(runners(catalog, model).given, LIKED, count=2, item_ids=("i004", "i005"))
    assert sorted(ids(ranked)) == ["i004", "i005"]


async def test_items_without_a_vector_follow_the_scored_ones_by_popularity(catalog):
    for item_id, events in (("a", 0), ("b", 7), ("c", 100), ("d", 7)):
        catalog.put(item(item_id))
        catalog.popular({item_id: events})
    item_ids = shuffled(("i001", "i002", "a", "b", "c", "d"))
    made = await ask(runners(catalog, PaperModel()).given, LIKED, count=6, item_ids=item_ids)
    ranked = made.slate
    assert [i.item_id for i in ranked.items][2:] == ["c", "b", "d", "a"]
    assert np.isnan(made.outputs.probabilities[2:]).all()
    scores = [i.score for i in ranked.items]
    assert scores == sorted(scores, reverse=True)


async def test_without_a_model_items_are_ordered_by_popularity(catalog):
    made = runners(catalog, PaperModel(), manifest=None)
    ranked = (await ask(made.given, LIKED, count=4, item_ids=("i001", "i039", "i020", "i030"))).slate
    assert [i.item_id for i in ranked.items] == ["i039", "i030", "i020", "i001"]
    assert ranked.tier == slate_pb2.TIER_POPULAR


async def test_without_a_known_item_the_slate_is_empty(catalog):
    ranked = await ask(runners(catalog, PaperModel()).given, LIKED, count=1, item_ids=("nowhere",))
    assert not ids(ranked) and not ranked.slate.slate_id


async def test_a_ranking_is_counted_as_a_list(catalog):
    counters = (
        LISTS.labels("ranked", "evaluation"),
        CANDIDATES.labels("given"),
        POSITIONS.labels("given"),
    )
    before = [counter._value.get() for counter in counters]
    await ask(runners(catalog, PaperModel()).given, LIKED, count=3, item_ids=("i001", "i002", "nowhere"))
    after = [counter._value.get() for counter in counters]
    assert np.subtract(after, before).tolist() == [1, 2, 2]


async def test_an_item_that_comes_after_the_filters_ran_is_not_known_yet(catalog):
    made = runners(catalog, PaperModel()).given
    [source] = made._stages.sources
    catalog.put(item("late"), vector(1))
    allowed = np.ones(catalog.size - 1, np.bool_)

    class Asked:
        class request:
            item_ids = ("late", "i001")

    assert [rows.tolist() for rows in await source.retrieve([Asked], [allowed])] == [[1]]
