"""Which items are on a list, and which never are."""

import numpy as np
import pytest

from profiles.folding.tail import Tail, hash64
from ranking.settings import DEFAULT_SURFACE
from recstream.v1 import item_pb2, slate_pb2
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    DAY_MS,
    MANIFEST,
    NOW,
    NOW_MS,
    PaperModel,
    ask,
    ids,
    in_categories,
    item,
    numbered,
    runner,
    similar,
    user,
    vector,
    with_state,
)


def catalog_of(count: int, **fields) -> FilledCatalog:
    catalog = FilledCatalog(lambda: NOW_MS)
    rng = np.random.default_rng(3)
    for item_id in numbered(count):
        catalog.put(item(item_id, **fields), rng.normal(size=8).astype(np.float32))
    return catalog


@pytest.mark.parametrize("count", [1, 2, 7, 10, 500])
@pytest.mark.parametrize("trouble", [None, "raise"])
@pytest.mark.parametrize("surface", ["evaluation", DEFAULT_SURFACE])
async def test_a_list_is_as_long_as_requested_or_as_there_are_items(count, trouble, surface):
    model = PaperModel()
    model.trouble = trouble
    made = runner(catalog_of(7), model)
    for stored in (None, user(("like", "i001")), with_state(user(("like", "i001")), vector(1))):
        listed = ids(await ask(made, stored, count=count, surface=surface))
        assert len(listed) == len(set(listed)) == min(count, 7 if stored is None else 6)


async def test_exclusions_do_not_shorten_a_list_while_items_are_left():
    made = runner(catalog_of(7), PaperModel())
    ranked = await ask(made, count=4, excluded=frozenset({"i000", "i001", "i002", "nowhere"}))
    assert sorted(ids(ranked)) == ["i003", "i004", "i005", "i006"]
    assert ranked.remaining == 0
    assert (await ask(made, count=3, excluded=frozenset({"i000", "nowhere"}))).remaining == 3


async def test_without_items_the_list_is_empty_and_has_no_id():
    made = runner(catalog_of(2), PaperModel())
    ranked = await ask(made, excluded=frozenset({"i000", "i001"}))
    assert not ids(ranked)
    assert ranked.slate.slate_id == ""
    assert ranked.remaining == 0
    assert not ids(await ask(runner(FilledCatalog(lambda: NOW_MS), PaperModel())))


@pytest.mark.parametrize("trouble", [None, "raise"])
@pytest.mark.parametrize(
    ("wanted", "expected"), [(["rare"], 5), (["rarer"], 1), (["none"], 0), (["rare", "rarer"], 6), ([], 10)]
)
async def test_a_list_stays_full_however_strict_its_filter(wanted, expected, trouble):
    catalog = catalog_of(2000, categories=["common"])
    for n, name in enumerate(["rare"] * 5 + ["rarer"]):
        catalog.put(item(f"x{n}", categories=[name]), vector(-9))
    model = PaperModel()
    model.trouble = trouble
    stored = with_state(user(("like", "i001")), vector(1))
    asked = in_categories(*wanted) if wanted else None
    ranked = await ask(runner(catalog, model), stored, filter=asked)
    assert len(ids(ranked)) == expected
    assert all(not wanted or catalog.item(row).categories[0] in wanted for row in ranked.rows.tolist())


async def test_items_of_another_domain_are_not_listed():
    catalog = catalog_of(20, domain="shop")
    catalog.put(item("film", domain="video"), vector(1))
    assert ids(await ask(runner(catalog, PaperModel()), domain="video")) == ["film"]


@pytest.mark.parametrize("trouble", [None, "raise"])
@pytest.mark.parametrize("unavailable", [False, True])
@pytest.mark.parametrize("manifest", [True, False])
async def test_no_tier_lists_withdrawn_expired_or_removed_items(trouble, unavailable, manifest):
    catalog = catalog_of(6)
    catalog.put(item("hidden", withdrawn=True, published_at_ms=NOW_MS - 1000), vector(9))
    catalog.put(item("over", expires_at_ms=NOW_MS), vector(9))
    catalog.put(item("removed"), vector(9))
    catalog.remove_item("removed")
    catalog.popular({"hidden": 99, "over": 99, "removed": 99})
    model = PaperModel()
    model.trouble = trouble
    live = MANIFEST if manifest else None
    made = runner(catalog, model, manifest=live)
    stored = with_state(user(("click", "i001")), vector(1))
    for surface in ("evaluation", DEFAULT_SURFACE):
        listed = ids(await ask(made, stored, unavailable=unavailable, surface=surface))
        assert set(listed) == set(numbered(6))
    for each in ("i000", "hidden"):
        assert {i.item_id for i in similar(catalog, each, 50, manifest=live).items} == set(numbered(6)) - {
            each
        }


async def test_an_item_that_is_removed_while_the_model_runs_is_not_listed():
    catalog, model = catalog_of(12), PaperModel()
    answer = model.rank

    async def rank(*args, **kwargs):
        catalog.remove_item("i003")
        return await answer(*args, **kwargs)

    model.rank = rank
    ranked = await ask(runner(catalog, model), count=11)
    assert set(ids(ranked)) == set(numbered(12)) - {"i003"}


async def test_consumed_items_are_not_listed_unless_their_action_is_repeatable():
    made = runner(catalog_of(6), PaperModel())
    stored = user(("like", "i000"), ("click", "i001"), ("dislike", "i002"))
    assert set(ids(await ask(made, stored))) == {"i001", "i003", "i004", "i005"}


async def test_items_consumed_before_the_history_are_not_listed():
    made = runner(catalog_of(6), PaperModel())
    tail = Tail().add([(1, hash64("i004")), (2, hash64("nowhere"))], 100)
    assert "i004" not in ids(await ask(made, user(("like", "i000")), tail=tail))


async def test_pages_repeat_no_item_and_end():
    made = runner(catalog_of(95), PaperModel())
    served: frozenset[int] = frozenset()
    seen: list[str] = []
    for page in range(10):
        # Between pages the user acts on listed items.
        stored = user(*[("like", each) for each in seen[: page * 2]]) if page else None
        ranked = await ask(made, stored, served=served)
        seen += ids(ranked)
        served |= {hash64(each) for each in ids(ranked)}
    assert len(seen) == len(set(seen)) == 95
    assert ranked.remaining == 0
    assert not ids(await ask(made, served=served))


async def test_items_added_later_are_found_by_their_hash():
    catalog = catalog_of(3)
    made = runner(catalog, PaperModel())
    await ask(made, served=frozenset({hash64("late")}))
    catalog.put(item("late"), vector(1))
    assert "late" not in ids(await ask(made, served=frozenset({hash64("late")})))


def tastes() -> FilledCatalog:
    """Three items, A, B and C, each with its own neighbours."""
    catalog = FilledCatalog(lambda: NOW_MS)
    for axis, name in enumerate("ABC"):
        for n in range(8):
            numbers = [0.0] * 3
            numbers[axis] = 2.0 - n / 10
            catalog.put(item(name if n == 0 else f"{name}{n}", categories=[name]), vector(*numbers))
    return catalog


async def test_a_disliked_item_is_not_listed_and_its_neighbours_sink():
    made = runner(tastes(), PaperModel())
    liked = ids(await ask(made, user(("like", "A"), ("like", "B")), count=24))
    disliked = ids(await ask(made, user(("like", "A"), ("like", "B"), ("dislike", "C")), count=24))
    assert "C" in liked
    assert "C" not in disliked
    assert {each[0] for each in disliked[-7:]} == {"C"}
    bob = user(("like", "A"), ("like", "B"), user_id="bob")
    assert ids(await ask(made, bob, user_id="bob", count=24)) == liked


async def test_an_undone_dislike_has_no_effect():
    made = runner(tastes(), PaperModel())
    before = await ask(made, user(("like", "A"), ("like", "B")))
    after = await ask(made, user(("like", "A"), ("like", "B"), ("dislike", "A"), undo="e2"))
    assert [(i.item_id, i.score, i.reason.item_id) for i in before.slate.items] == [
        (i.item_id, i.score, i.reason.item_id) for i in after.slate.items
    ]


async def test_the_newest_event_on_an_item_decides():
    ranked = await ask(
        runner(tastes(), PaperModel()), user(("like", "A"), ("like", "B"), ("dislike", "A")), count=5
    )
    assert {i.reason.item_id for i in ranked.slate.items} == {"B"}
    assert ids(ranked) == ["B1", "B2", "B3", "B4", "B5"]


async def test_no_item_is_its_own_reason():
    ranked = await ask(runner(tastes(), PaperModel()), user(("click", "A"), ("click", "B")), count=24)
    reasons = {each.item_id: each.reason.item_id for each in ranked.slate.items}
    assert (reasons["A1"], reasons["B1"]) == ("A", "B")
    assert (reasons["A"], reasons["B"]) == ("", "")


async def test_an_unknown_user_gets_popular_and_new_items_in_the_models_order():
    catalog = catalog_of(400)
    catalog.popular({"i399": 50})
    catalog.put(item("new", published_at_ms=NOW_MS - DAY_MS), vector(-5))
    made = runner(catalog, PaperModel())
    ranked = await ask(made, surface=DEFAULT_SURFACE)
    assert ranked.slate.tier == slate_pb2.TIER_RANKED
    assert ranked.slate.model_version == 5
    assert ranked.slate.profile_revision == 0
    assert len(ids(ranked)) == 10
    assert "new" in ids(ranked)
    assert not any(i.reason.kind == slate_pb2.REASON_KIND_BECAUSE_OF for i in ranked.slate.items)


async def test_new_items_get_positions_except_on_the_evaluation_surface():
    catalog = catalog_of(300)
    for n in range(5):
        catalog.put(item(f"new{n}", published_at_ms=NOW_MS - DAY_MS), vector(-9))
    stored = with_state(user(("like", "i001")), vector(1))
    made = runner(catalog, PaperModel())
    listed = await ask(made, stored, count=20, surface=DEFAULT_SURFACE)
    new = [i for i in listed.slate.items if i.item_id.startswith("new")]
    assert len(new) == 2
    assert all(i.source == "fresh" and i.reason.kind == slate_pb2.REASON_KIND_FRESH for i in new)
    measured = (await ask(made, stored, count=20)).slate
    assert not any(i.item_id.startswith("new") for i in measured.items)
    assert [i.score for i in measured.items] == sorted((i.score for i in measured.items), reverse=True)


async def test_an_item_without_a_vector_is_listed_last_and_has_no_probabilities():
    catalog = catalog_of(3)
    catalog.put(item("blank"))
    catalog.popular({"blank": 99})
    ranked = await ask(runner(catalog, PaperModel()))
    items = ranked.slate.items
    assert items[-1].item_id == "blank"
    assert np.isnan(ranked.outputs.probabilities[-1]).all() and np.isnan(ranked.outputs.predicted_values[-1])
    assert items[-1].score == items[-2].score


async def test_a_ranked_list_has_the_models_predictions_and_a_sortable_id():
    made = runner(catalog_of(5), PaperModel())
    first, second = await ask(made), await ask(made)
    assert first.slate.slate_id < second.slate.slate_id
    assert first.outputs.actions == ("like", "dislike", "click")
    for each, (like, dislike, _) in zip(first.slate.items, first.outputs.probabilities, strict=True):
        assert each.score == pytest.approx(like - dislike, abs=1e-6)
    assert np.isfinite(first.outputs.predicted_values).all()


async def test_similar_items_are_the_nearest_and_never_the_item_itself():
    catalog = tastes()
    found = similar(catalog, "B", 3, excluded=frozenset({"B2"}))
    assert [i.item_id for i in found.items] == ["B1", "B3", "B4"]
    assert found.model_version == 5
    assert [i.item_id for i in similar(catalog, "B", 2, filter=in_categories("A")).items]


async def test_similar_items_of_one_without_a_vector_are_popular_ones_of_its_category():
    catalog = tastes()
    catalog.put(item("blank", categories=["B"]))
    catalog.popular({"B5": 2, "A1": 9})
    found = similar(catalog, "blank", 9)
    assert found.items[0].item_id == "B5"
    assert found.items[8].item_id == "A1"
    assert found.model_version == 0


@pytest.mark.parametrize("unavailable", [False, True])
async def test_an_old_burst_is_not_popular_now(unavailable):
    catalog = catalog_of(30)
    catalog.popular({"i020": 100_000}, hours_ago=30 * 24)
    made = runner(catalog, PaperModel())
    ranked = await ask(made, count=30, unavailable=unavailable)
    assert not any(i.reason.kind == slate_pb2.REASON_KIND_TRENDING for i in ranked.slate.items)
    catalog.popular({"i007": 2})
    items = (await ask(made, count=30, unavailable=True)).slate.items
    assert [i.item_id for i in items[:2]] == ["i007", "i020"]
    assert items[0].reason.kind == slate_pb2.REASON_KIND_TRENDING
    assert items[1].reason.kind == slate_pb2.REASON_KIND_UNSPECIFIED


async def test_the_largest_list_is_far_below_four_mebibytes():
    catalog = FilledCatalog(lambda: NOW_MS)
    for n in range(600):
        big = item_pb2.Item(
            item_id=f"{n:03}" + "x" * 253, title="\U0001f3ac" * 4000, description="d" * 32_000
        )
        catalog.put(big, vector(1 + n / 600))
    stored = with_state(user(("like", "599" + "x" * 253)), vector(1))
    slate = (await ask(runner(catalog, PaperModel()), stored, count=500)).slate
    assert len(slate.items) == 500
    assert {i.reason.kind for i in slate.items} == {slate_pb2.REASON_KIND_BECAUSE_OF}
    assert slate.ByteSize() < 2 << 20


def test_the_clock_of_these_tests_stands_still():
    assert int(NOW * 1000) == NOW_MS
