"""Queries get the same lists in a batch as alone, with fewer calls to the model."""

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest

from inference.model import ModelUnavailable, NotFinite
from inference.version_routing import Live, VersionRouting
from profiles.folding.tail import Tail, hash64
from profiles.profile import Stored
from ranking.build import build
from ranking.query import Query
from ranking.runner import Runner
from ranking.settings import DEFAULT_SURFACE, RankingSettings
from ranking.slate.ranked import Ranked
from ranking.slate.slate_ids import SlateIds
from recstream.v1 import slate_pb2
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    DAY_MS,
    MANIFEST,
    NOW_MS,
    PROFILES,
    VERSION,
    PaperModel,
    ids,
    in_categories,
    item,
    numbered,
    query,
    runner,
    user,
    vector,
    with_state,
)

RANKED, VECTORS, POPULAR = slate_pb2.TIER_RANKED, slate_pb2.TIER_VECTORS, slate_pb2.TIER_POPULAR


@pytest.fixture
def catalog() -> FilledCatalog:
    made, rng = FilledCatalog(lambda: NOW_MS), np.random.default_rng(4)
    for n, item_id in enumerate(numbered(120)):
        fields = {"categories": [f"c{n % 5}"], "published_at_ms": NOW_MS - n * DAY_MS}
        made.put(item(item_id, **fields), rng.normal(size=8).astype(np.float32))
        made.popular({item_id: 1 + n % 7}, hours_ago=n)
    made.put(item("blank"))
    return made


def liked(name: str, *items: str) -> Stored:
    return user(*[("like", each) for each in items], user_id=name)


def mixed() -> list[Query]:
    """Users with and without a state, a history and a profile, with various lengths, surfaces, filters and moments."""
    return [
        query(with_state(liked("ann", "i003", "i009"), vector(1, 2)), user_id="ann"),
        query(liked("bob", "i004"), user_id="bob", count=3, surface=DEFAULT_SURFACE),
        query(None, user_id="stranger", count=25),
        query(None, user_id="unread", unavailable=True),
        query(liked("eve", *numbered(9)), user_id="eve", filter=in_categories("c1")),
        query(liked("dan", "i050"), user_id="dan", now_ms=NOW_MS - 20 * DAY_MS, surface=DEFAULT_SURFACE),
        query(liked("kim", "i001"), user_id="kim", excluded=frozenset({"i002"}), tail=tail_of("i007")),
        query(liked("leo", "i001"), user_id="leo", filter=in_categories("none")),
    ]


def tail_of(item_id: str) -> Tail:
    return Tail().add([(1, hash64(item_id))], 100)


def said(ranked: Ranked) -> tuple[object, ...]:
    """The contents of a list without its id and its scores."""
    slate = ranked.slate
    items = [(i.item_id, i.source, i.reason.kind, i.reason.item_id) for i in slate.items]
    return slate.tier, slate.model_version, slate.profile_unavailable, ranked.remaining, items


def scores(ranked: Ranked) -> list[float]:
    return [each.score for each in ranked.slate.items]


@pytest.mark.parametrize("trouble", [None, "raise", "nan", "shape", "fault"])
async def test_a_query_gets_the_same_list_in_a_batch_as_alone(
    catalog: FilledCatalog, trouble: str | None
) -> None:
    model = PaperModel()
    model.trouble = trouble
    together = await runner(catalog, model).rank(mixed())
    assert len(together) == len(mixed())
    for one, ranked in zip(mixed(), together, strict=True):
        [alone] = await runner(catalog, model).rank([one])
        assert said(ranked) == said(alone)
        assert scores(ranked) == pytest.approx(scores(alone), abs=1e-6)
        assert len({each.item_id for each in ranked.slate.items}) == len(ranked.slate.items)
    best, lower = (RANKED, VECTORS) if trouble is None else (VECTORS, RANKED)
    tiers = {each.slate.tier for each in together}
    assert best in tiers and POPULAR in tiers and lower not in tiers


async def test_a_batch_calls_the_model_once_for_states_and_once_for_scores(catalog: FilledCatalog) -> None:
    model = PaperModel()
    users = [query(liked(name, "i001", f"i00{n}"), user_id=name) for n, name in enumerate("abcde", start=2)]
    made = runner(catalog, model)
    await made.rank(users)
    assert model.calls == ["fold", "rank"]
    await made.rank(users)
    assert model.calls == ["fold", "rank", "rank"]


async def test_an_empty_batch_gives_no_lists(catalog: FilledCatalog) -> None:
    model = PaperModel()
    assert await runner(catalog, model).rank([]) == []
    assert not model.calls


class Poisoned(PaperModel):
    """Its numbers for one user are not finite. It knows the user by the first number of the user's vector, or of the
    first item's vector."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self.call = call

    async def fold(self, version, histories, *, timeout):
        if self.call == "fold":
            self._check(histories.item_vectors[:, 0, 0])
        return await super().fold(version, histories, timeout=timeout)

    async def rank(self, version, users, candidates, *, timeout):
        if self.call == "rank":
            self._check(users.user_vector[:, 0])
        return await super().rank(version, users, candidates, timeout=timeout)

    def _check(self, numbers: np.ndarray) -> None:
        bad = np.flatnonzero(numbers > 500)
        if len(bad):
            raise NotFinite("poisoned", tuple(bad.tolist()))


@pytest.mark.parametrize(("call", "tier"), [("fold", POPULAR), ("rank", VECTORS)])
async def test_numbers_that_are_not_finite_for_one_user_do_not_affect_others(
    catalog: FilledCatalog, call, tier
) -> None:
    catalog.put(item("poison"), vector(1000))
    queries = [
        query(liked("ann", "i003"), user_id="ann"),
        query(liked("bob", "poison"), user_id="bob"),
        query(liked("eve", "i005"), user_id="eve"),
    ]
    ranked = await runner(catalog, Poisoned(call)).rank(queries)
    assert [each.slate.tier for each in ranked] == [RANKED, tier, RANKED]
    assert all(len(ids(each)) == 10 for each in ranked)


async def test_users_of_two_versions_in_one_batch_have_lists_of_their_own_version(
    catalog: FilledCatalog,
) -> None:
    newer = MANIFEST.model_copy(update={"version": VERSION + 1})
    rng = np.random.default_rng(5)
    for item_id in numbered(120):
        catalog.put_vector(VERSION + 1, item_id, rng.normal(size=8).astype(np.float32))
    half = VersionRouting(Live(MANIFEST), Live(newer), 0.5)
    made = build(catalog, PaperModel(), lambda: half, PROFILES, RankingSettings()).found
    names = [f"user-{n}" for n in range(16)]
    wanted = [manifest.version for name in names if (manifest := half.chosen(name)) is not None]
    assert set(wanted) == {VERSION, VERSION + 1}
    ranked = await made.rank([query(liked(name, "i003", "i004"), user_id=name) for name in names])
    assert [each.slate.model_version for each in ranked] == wanted
    assert {each.slate.tier for each in ranked} == {RANKED}
    assert all(each.slate.items[0].reason.item_id in {"i003", "i004"} for each in ranked)


async def test_a_version_that_does_not_answer_does_not_affect_users_of_another(
    catalog: FilledCatalog,
) -> None:
    class Half(PaperModel):
        async def rank(self, version, users, candidates, *, timeout):
            if version != VERSION:
                raise ModelUnavailable("this version is not loaded")
            return await super().rank(version, users, candidates, timeout=timeout)

    newer = MANIFEST.model_copy(update={"version": VERSION + 1})
    for item_id in numbered(120):
        catalog.put_vector(VERSION + 1, item_id, vector(1, 2))
    half = VersionRouting(Live(MANIFEST), Live(newer), 0.5)
    made = build(catalog, Half(), lambda: half, PROFILES, RankingSettings()).found
    names = [f"user-{n}" for n in range(16)]
    ranked = await made.rank([query(liked(name, "i003", "i004"), user_id=name) for name in names])
    assert {(each.slate.model_version, each.slate.tier) for each in ranked} == {
        (VERSION, RANKED),
        (VERSION + 1, VECTORS),
    }


@pytest.mark.usefixtures("virtual_time")
async def test_without_a_deadline_a_list_takes_as_long_as_the_model_needs(catalog: FilledCatalog) -> None:
    model = PaperModel()
    model.lasting = 3.0
    made = runner(catalog, model, model_timeout_ms=1, reasons_wait_ms=1)
    [ranked] = await made.rank([query(with_state(liked("ann", "i003"), vector(1)))])
    assert ranked.slate.tier == RANKED
    assert {each.reason.item_id for each in ranked.slate.items} <= {"i003", ""}


async def test_without_the_ranker_lists_are_in_the_order_of_the_users_vector(catalog: FilledCatalog) -> None:
    model, routing = PaperModel(), VersionRouting.single(MANIFEST)
    surfaces = {"evaluation": {"nearest": 120, "similar": 0, "popular": 0, "trending": 0, "fresh": 0}}
    surfaces["evaluation"] |= {"exploration_share": 0, "category_share": 1}
    settings = RankingSettings.model_validate({"surfaces": surfaces})
    made = build(catalog, model, lambda: routing, PROFILES, settings, ranker=False).found
    taste = vector(1, -2, 3)
    [ranked] = await made.rank([query(with_state(liked("ann", "i003"), taste), count=50)])
    assert ranked.slate.tier == VECTORS and "rank" not in model.calls
    near = catalog.vectors(VERSION, ranked.rows) @ taste
    assert len(near) == 50 and (np.diff(near) <= 0).all()
    rest = np.setdiff1d(
        np.flatnonzero(catalog.has_vector(VERSION)), np.append(ranked.rows, catalog.row("i003"))
    )
    assert (catalog.vectors(VERSION, rest) @ taste).max() <= near.min()


async def test_score_returns_the_scores_of_all_candidates(catalog: FilledCatalog) -> None:
    made = runner(catalog, PaperModel())
    for scored, ranked in zip(await made.score(mixed()), await made.rank(mixed()), strict=True):
        assert len(scored.scores.values) == len(scored.candidates) >= len(ranked.rows)
        assert set(ranked.rows.tolist()) <= set(scored.candidates.rows.tolist())
        assert scored.scores.tier == ranked.slate.tier
    [one] = await made.score(mixed()[:1])
    order = np.argsort(-one.scores.values, kind="stable")
    [listed] = await made.rank(mixed()[:1])
    assert one.candidates.rows[order[:10]].tolist() == listed.rows.tolist()


def named(catalog: FilledCatalog) -> Runner:
    """A runner whose slate ids count up."""
    moments, routing = count(1_000), VersionRouting.single(MANIFEST)
    names = SlateIds(clock=lambda: next(moments), random=bytes)
    return build(catalog, PaperModel(), lambda: routing, PROFILES, RankingSettings(), slate_ids=names).found


async def test_the_same_queries_give_the_same_lists_with_the_same_ids(catalog: FilledCatalog) -> None:
    def bytes_of(lists: Sequence[Ranked]) -> list[bytes]:
        return [each.slate.SerializeToString(deterministic=True) for each in lists]

    first, second = [await named(catalog).rank(mixed()) for _ in range(2)]
    assert bytes_of(first) == bytes_of(second)
