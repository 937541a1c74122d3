"""Inputs of the ranker that depend on the moment: the user's idle time, and the items' ages and popularity."""

import numpy as np
import pytest

from inference.model import Candidates as RankerInput
from profiles.folding.events import Erasure, Event, Position, SlateImpression
from profiles.folding.fold import fold
from profiles.profile import Stored
from ranking.settings import DEFAULT_SURFACE
from recstream.storage.v1 import catalog_pb2
from recstream.v1 import slate_pb2
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    DAY_MS,
    MANIFEST,
    NOW_MS,
    PROFILES,
    PaperModel,
    ask,
    ids,
    item,
    numbered,
    runner,
    similar,
    user,
    vector,
    with_state,
)

TOPIC = b"t" * 16


class Listening(PaperModel):
    """Keeps the ranker's inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[RankerInput] = []

    async def rank(self, version, users, candidates, *, timeout):
        self.seen.append(candidates)
        return await super().rank(version, users, candidates, timeout=timeout)


@pytest.fixture
def catalog() -> FilledCatalog:
    made = FilledCatalog(lambda: NOW_MS)
    for n, item_id in enumerate(numbered(30)):
        made.put(item(item_id), vector(n / 10, 1))
    return made


def folded(*records) -> Stored:
    return Stored(1, fold(None, "ann", records, PROFILES).profile)


def event(n: int, item_id: str, seconds_ago: float, action: str = "like") -> Event:
    moment = NOW_MS - int(seconds_ago * 1000)
    return Event("ann", Position(TOPIC, 0, n), NOW_MS, f"e{n}", item_id, action, moment)


async def idle(catalog: FilledCatalog, stored: Stored | None) -> float:
    """The idle time that the ranker gets. It must be the same for a folded state and for a stored one."""
    model = Listening()
    made = runner(catalog, model)
    await ask(made, stored)
    if stored is not None:
        await ask(made, with_state(stored, vector(1)))
    assert len({float(candidates.idle_seconds[0]) for candidates in model.seen}) == 1
    return float(model.seen[0].idle_seconds[0])


async def test_idle_time_counts_from_the_newest_event_even_if_older_ones_arrive_later(catalog):
    assert await idle(catalog, folded(event(0, "i001", 3600), event(1, "i002", 90.5))) == 90.5
    assert await idle(catalog, folded(event(0, "i002", 90.5), event(1, "i001", 3600))) == 90.5


async def test_an_event_in_the_future_counts_as_one_of_now(catalog):
    assert await idle(catalog, folded(event(0, "i001", -60))) == 0


async def test_an_undone_event_does_not_end_the_idle_time(catalog):
    assert await idle(catalog, user(("like", "i001"), ("like", "i002"), undo="e1")) == 1000
    assert await idle(catalog, user(("like", "i001"), undo="e0")) == -1


async def test_impressions_do_not_end_the_idle_time(catalog):
    seen = SlateImpression("ann", Position(TOPIC, 0, 1), NOW_MS, "e1", ("i002", "i003"), NOW_MS - 5000)
    assert await idle(catalog, folded(event(0, "i001", 3600), seen)) == 3600


async def test_users_without_events_or_after_an_erasure_have_no_idle_time(catalog):
    assert await idle(catalog, None) == -1
    erasure = Erasure("ann", Position(TOPIC, 0, 1), NOW_MS, (Position(TOPIC, 0, 1),))
    assert await idle(catalog, folded(event(0, "i001", 60), erasure)) == -1
    assert await idle(catalog, folded(event(0, "i001", 60), erasure, event(2, "i002", 7))) == 7


async def test_the_idle_time_of_an_earlier_state_counts_from_its_newest_event(catalog):
    model = Listening()
    made = runner(catalog, model)
    await ask(made, folded(event(0, "i001", 3600)))
    model.fold_trouble = "raise"
    await ask(made, folded(event(0, "i001", 3600), event(1, "i002", 7)))
    assert [candidates.idle_seconds.tolist() for candidates in model.seen] == [[3600], [3600]]


async def test_popularities_are_in_the_order_of_the_manifests_half_lives(catalog):
    model = Listening()
    catalog.popular({"i007": 800}, hours_ago=14 * 24)
    await ask(runner(catalog, model), with_state(user(("like", "i001")), vector(1)), count=29)
    given = model.seen[0]
    assert given.popularity.shape == (1, given.vectors.shape[1], 3) and given.popularity.dtype == np.float32
    assert MANIFEST.popularity_half_lives_days == (3, 14, 90)
    wanted = [800 * 2 ** (-14 / days) for days in (3, 14, 90)]
    assert given.popularity[0, given.popularity[0, :, 1].argmax()] == pytest.approx(wanted)
    assert np.count_nonzero(given.popularity.any(axis=2)) == 1


async def test_each_model_version_gets_its_own_half_lives(catalog):
    model = Listening()
    catalog.popular({"i007": 8})
    one = MANIFEST.model_copy(update={"popularity_half_lives_days": (30.0,)})
    await ask(runner(catalog, model, manifest=one), user(("like", "i001")))
    assert model.seen[0].popularity.shape == (1, model.seen[0].vectors.shape[1], 1)


async def test_evaluation_lists_are_nearest_similar_and_popular_items_in_the_rankers_order():
    catalog = FilledCatalog(lambda: NOW_MS)
    for n, item_id in enumerate(numbered(450)):
        catalog.put(item(item_id, categories=["all"], published_at_ms=NOW_MS - 1000), vector(n / 1000, 1))
    catalog.put(item("odd"), vector(0, 0, 5))
    catalog.put(item("odd too"), vector(0, 0, 4))
    catalog.popular({"i100": 9})
    stored = with_state(user(("like", "odd")), vector(1, 1))
    slate = (await ask(runner(catalog, PaperModel()), stored, count=500)).slate
    sources = {each.item_id: each.source for each in slate.items}
    assert (sources["i449"], sources["odd too"], sources["i100"]) == ("nearest", "similar", "popular")
    assert set(sources.values()) == {"nearest", "similar", "popular"}
    scores = [each.score for each in slate.items]
    assert len(scores) == 451 and scores == sorted(scores, reverse=True)


async def test_an_unknown_user_gets_ranked_popular_items(catalog):
    catalog.popular({item_id: 1 + n for n, item_id in enumerate(numbered(10))}, hours_ago=60 * 24)
    ranked = await ask(
        runner(catalog, PaperModel(), surfaces={"evaluation": {"trending": 0, "popular": 5}}), count=5
    )
    assert {each.source for each in ranked.slate.items} == {"popular"}
    assert sorted(ids(ranked)) == numbered(10)[5:]


async def test_items_with_lasting_popularity_are_found_beside_trending_ones():
    catalog = FilledCatalog(lambda: NOW_MS)
    for item_id in numbered(50):
        catalog.put(item(item_id), vector(1))
    catalog.put(item("classic"), vector(9))
    catalog.popular(dict.fromkeys(numbered(20), 1))
    catalog.popular({"classic": 500}, hours_ago=21 * 24)
    made = runner(catalog, PaperModel(), default={"trending": 5, "popular": 5})
    first = (await ask(made, count=5, surface=DEFAULT_SURFACE)).slate.items[0]
    assert (first.item_id, first.source) == ("classic", "popular")


async def test_an_unknown_user_gets_popular_items_when_the_ranker_is_down(catalog):
    model = PaperModel()
    made = runner(catalog, model)
    await ask(made)
    model.trouble = "raise"
    catalog.popular({"i003": 2, "i004": 1})
    ranked = await ask(made)
    assert ranked.slate.tier == slate_pb2.TIER_POPULAR
    assert ids(ranked)[:2] == ["i003", "i004"]


EARLIER_MS = NOW_MS - 50 * DAY_MS


async def test_idle_time_ages_and_popularity_count_from_the_moment_of_the_query():
    """The clock of the process is fifty days ahead of the query's moment, and must not matter."""
    catalog = FilledCatalog(lambda: NOW_MS)
    for item_id in numbered(30):
        catalog.put(item(item_id, published_at_ms=EARLIER_MS - 3 * DAY_MS), vector(1))
    catalog.put(item("later", published_at_ms=EARLIER_MS + DAY_MS), vector(1))
    catalog.popular({"i007": 8}, hours_ago=64 * 24)
    model = Listening()
    stored = folded(event(0, "i001", 50 * 86_400 + 90))
    await ask(runner(catalog, model), stored, count=40, now_ms=EARLIER_MS)
    given = model.seen[0]
    assert given.idle_seconds == 90
    assert sorted(set(given.age_seconds[0].tolist())) == [0, 3 * 86_400]
    wanted = [8 * 2 ** (-14 / days) for days in (3, 14, 90)]
    assert given.popularity[0, given.popularity[0, :, 1].argmax()] == pytest.approx(wanted)


async def test_popularity_as_of_a_moment_does_not_depend_on_queries_in_between(catalog):
    """Events arrive in order of time. Lists for the present are requested between those for the past."""
    catalog.popular({"i003": 4}, hours_ago=50 * 24)
    model, fresh = Listening(), Listening()
    made = runner(catalog, model)
    await ask(made, now_ms=EARLIER_MS)
    await ask(made)
    catalog.popular({"i004": 9}, hours_ago=40 * 24)
    for moment in (EARLIER_MS + 10 * DAY_MS, NOW_MS, EARLIER_MS + 10 * DAY_MS, NOW_MS):
        await ask(made, now_ms=moment)
    await ask(runner(catalog, fresh), now_ms=EARLIER_MS + 10 * DAY_MS)
    then, now, again, named = (candidates.popularity for candidates in model.seen[2:])
    np.testing.assert_allclose(then, fresh.seen[0].popularity, rtol=1e-5)
    np.testing.assert_allclose(then, again, rtol=1e-5)
    np.testing.assert_allclose(now, named, rtol=1e-5)
    assert then[0, :, 1].max() == pytest.approx(9) and now[0, :, 1].max() == pytest.approx(
        9 * 2 ** (-40 / 14)
    )


async def test_expiry_is_judged_as_of_the_moment():
    catalog = FilledCatalog(lambda: NOW_MS)
    catalog.put(item("there then", expires_at_ms=EARLIER_MS + 1), vector(1))
    catalog.put(item("gone then", expires_at_ms=EARLIER_MS), vector(1))
    catalog.put(item("always"), vector(1))
    made = runner(catalog, PaperModel())
    assert sorted(ids(await ask(made, now_ms=EARLIER_MS))) == ["always", "there then"]
    assert ids(await ask(made)) == ["always"]


async def test_newness_is_judged_as_of_the_moment():
    catalog = FilledCatalog(lambda: NOW_MS)
    catalog.put(item("new then", published_at_ms=EARLIER_MS - DAY_MS), vector(1))
    catalog.put(item("new now", published_at_ms=NOW_MS - DAY_MS), vector(1))
    catalog.put(item("old"), vector(1))
    catalog.popular({"old": 5})  # So that popularity brings neither of the others.
    made = runner(catalog, PaperModel(), default={"popular": 0, "trending": 0, "nearest": 0, "similar": 0})
    for moment, wanted in ((EARLIER_MS, "new then"), (NOW_MS, "new now")):
        listed = (await ask(made, surface=DEFAULT_SURFACE, count=1, now_ms=moment)).slate.items
        assert [each.item_id for each in listed] == [wanted]


async def test_similar_items_of_one_without_a_vector_are_popular_as_of_the_moment(catalog):
    catalog.put(item("odd"))
    hour = NOW_MS // 3_600_000
    for item_id, buckets in (("i001", {hour - 50 * 24: 9}), ("i002", {hour: 5})):
        hours = [catalog_pb2.HourBucket(hour=at, count=count) for at, count in buckets.items()]
        catalog.put_stats(item_id, catalog_pb2.ItemStats(positives=sum(buckets.values()), hours=hours))
    first = [similar(catalog, "odd", 1, now_ms=moment).items[0] for moment in (NOW_MS, EARLIER_MS)]
    assert [each.item_id for each in first] == ["i002", "i001"]
    # As of that moment, the later burst counts like events an hour ahead at most.
    assert first[1].score == pytest.approx(9, rel=0.01)


async def test_seeds_with_shared_neighbours_bring_as_many_similar_items_as_others():
    catalog = FilledCatalog(lambda: NOW_MS)
    for n, item_id in enumerate(numbered(60)):
        catalog.put(item(item_id), vector(n, 60 - n))
    for liked in ("a", "b", "c"):
        catalog.put(item(liked), vector(30, 30))
    stored = with_state(user(("like", "a"), ("like", "b"), ("like", "c")), vector(1, 1))
    made = runner(catalog, PaperModel(), surfaces={"evaluation": {"nearest": 0, "similar": 12}})
    slate = (await ask(made, stored, count=60)).slate
    assert [each.source for each in slate.items].count("similar") == 12
