"""Rules of whole lists: boosts, pins, promotions, caps, diversity and rotation, in a request and in a surface."""

from dataclasses import replace

import numpy as np
import pytest

from profiles.folding.events import Position
from profiles.folding.tail import Tail, hash64
from profiles.profile import Impression, Stored
from ranking import metrics
from ranking.settings import DEFAULT_SURFACE
from recstream.v1 import filter_pb2, rules_pb2, slate_pb2
from recstream.v1.filter_pb2 import TextFilter
from recstream.v1.item_pb2 import Attribute
from tests.ranking.filled_catalog import FilledCatalog
from tests.ranking.world import (
    DAY_MS,
    NOW_MS,
    PaperModel,
    ask,
    ids,
    item,
    numbered,
    query,
    runner,
    user,
    vector,
    with_state,
)

Boost, Cap, ListRules, Pin, Promotion = (
    rules_pb2.Boost,
    rules_pb2.Cap,
    rules_pb2.ListRules,
    rules_pb2.Pin,
    rules_pb2.Promotion,
)
CATEGORIES = [f"c{n}" for n in range(6)]
BRANDS = [f"b{n}" for n in range(4)]


def category(*names: str) -> filter_pb2.Filter:
    return filter_pb2.Filter(text=TextFilter(field="category", values=names))


def assorted(count: int = 150) -> FilledCatalog:
    """Items of six categories and four brands. Some have no category, no brand or no vector, some are new."""
    catalog = FilledCatalog(lambda: NOW_MS)
    rng = np.random.default_rng(7)
    for n, item_id in enumerate(numbered(count)):
        fields = {"published_at_ms": NOW_MS - DAY_MS if n % 9 == 0 else NOW_MS - 90 * DAY_MS}
        if n % 11:
            fields["categories"] = [CATEGORIES[int(rng.integers(len(CATEGORIES)))]]
        if n % 7:
            fields["attributes"] = {"brand": Attribute(texts=[BRANDS[int(rng.integers(len(BRANDS)))]])}
        catalog.put(item(item_id, **fields), rng.normal(size=8).astype(np.float32) if n % 13 else None)
    return catalog


def random_rules(rng: np.random.Generator, count: int) -> ListRules:
    def some(most: int) -> range:
        return range(int(rng.integers(0, most + 1)))

    def wanted() -> filter_pb2.Filter:
        if rng.random() < 0.5:
            return category(*rng.choice(CATEGORIES, 2))
        return filter_pb2.Filter(text=TextFilter(field="attributes.brand", values=[rng.choice(BRANDS)]))

    items = rng.permutation(150)
    positions = rng.permutation(count)
    caps = []
    for _ in some(2):
        limit = (
            {"most": int(rng.integers(1, 8))} if rng.random() < 0.5 else {"share": float(rng.uniform(0.1, 1))}
        )
        caps.append(Cap(field=str(rng.choice(["category", "attributes.brand"])), **limit))
    return ListRules(
        boosts=[
            Boost(name=f"boost {n}", filter=wanted(), strength=float(rng.uniform(-10, 10))) for n in some(3)
        ],
        pins=[
            Pin(item_id=f"i{items[n]:03}", position=int(positions[n]))
            for n in some(min(4, count))
            if n < count
        ],
        promotions=[
            Promotion(name=f"promotion {n}", filter=wanted(), share=float(rng.uniform(0, 0.6)))
            for n in some(2)
        ],
        caps=caps,
        diversity=float(rng.choice([0, 0.3, 1])),
        rotation=rules_pb2.Rotation(strength=float(rng.choice([0, 1]))),
    )


def values_of(catalog: FilledCatalog, rows, field: str) -> list[str | None]:
    items = [catalog.item(row) for row in rows]
    if field == "category":
        return [each.categories[0] if each.categories else None for each in items]
    return [next(iter(each.texts.get("brand", ())), None) for each in items]


def check_list(catalog: FilledCatalog, rules: ListRules, count: int, ranked, consumed: set[str]) -> None:
    """Every rule of the list holds, or gives way to one of higher priority, or for want of items."""
    listed = ids(ranked)
    pins = {pin.item_id: pin.position for pin in rules.pins}
    candidates = {f"i{n:03}" for n in range(150)} - consumed | set(pins)
    assert len(listed) == len(set(listed)) == min(count, len(candidates))
    assert set(listed) <= candidates
    for item_id, position in pins.items():
        assert listed[position] == item_id
        assert ranked.slate.items[position].reason.kind == slate_pb2.REASON_KIND_PINNED
    rows = [catalog.row(each) for each in listed]
    left = sorted(candidates - set(listed))
    left_rows = [catalog.row(each) for each in left]
    full = [False] * len(left)  # Whether an item that is left out would exceed a cap.
    over = False
    for cap in rules.caps:
        most = cap.most or max(1, int(np.ceil(cap.share * len(listed))))
        values = values_of(catalog, rows, cap.field)
        counts = {value: values.count(value) for value in values if value is not None}
        full = [
            was or (value is not None and counts.get(value, 0) >= most)
            for was, value in zip(full, values_of(catalog, left_rows, cap.field), strict=True)
        ]
        over |= any(
            counts.get(value, 0) > most
            for item_id, value in zip(listed, values, strict=True)
            if item_id not in pins
        )
    assert all(full) or not over
    protected = set(pins)
    for promotion in rules.promotions:
        matching = catalog.matching(promotion.filter, "")
        mine = {each for each in listed if matching[catalog.row(each)]}
        protected |= mine
        if len(mine) < int(promotion.share * len(listed)):
            open_ = [
                row for row, blocked in zip(left_rows, full, strict=True) if matching[row] and not blocked
            ]
            assert not open_ or protected == set(listed)


@pytest.mark.parametrize("part", range(5))
async def test_a_thousand_random_lists_keep_their_rules_and_none_is_short(part):
    catalog = assorted()
    rng = np.random.default_rng(part)
    model = PaperModel()
    # All items are candidates, so that only a rule can leave one out.
    made = runner(catalog, model, default={"popular": 500})
    likes = ["i003", "i017", "i040"]
    stored = with_state(user(*[("like", each) for each in likes]), vector(1, -1, 2))
    for start in range(0, 200, 20):
        model.trouble = "raise" if start % 40 else None
        counts = [int(rng.integers(1, 60)) for _ in range(20)]
        rules = [random_rules(rng, count) for count in counts]
        users = [stored if rng.random() < 0.7 else None for _ in counts]
        lists = await made.rank(
            [
                query(each, count=count, rules=some, surface=DEFAULT_SURFACE)
                for each, count, some in zip(users, counts, rules, strict=True)
            ]
        )
        for count, some, each, ranked in zip(counts, rules, users, lists, strict=True):
            check_list(catalog, some, count, ranked, set(likes) if each else set())


async def test_a_boost_means_the_same_on_each_tier_and_its_item_names_it():
    catalog = assorted()
    rules = ListRules(boosts=[Boost(name="more c1", filter=category("c1"), strength=10)])
    stored = with_state(user(("like", "i003")), vector(1, -1, 2))
    for trouble in (None, "raise"):
        model = PaperModel()
        model.trouble = trouble
        made = runner(catalog, model, default={"popular": 500})
        plain = (await ask(made, stored)).slate
        ranked = await ask(made, stored, rules=rules)
        assert ranked.slate.tier == plain.tier
        assert {catalog.item(row).categories for row in ranked.rows.tolist()} == {("c1",)}
        assert {each.reason.rule for each in ranked.slate.items} == {"more c1"}
        assert not any(each.reason.rule for each in plain.items)
        # The score is what the item was ordered by.
        scores = [each.score for each in ranked.slate.items]
        assert scores == sorted(scores, reverse=True)


async def test_a_buried_item_is_the_last_to_be_listed():
    catalog = assorted(40)
    made = runner(catalog, PaperModel())
    rules = ListRules(boosts=[Boost(name="less", filter=category("c2"), strength=-10)])
    rows = (await ask(made, count=40, rules=rules)).rows
    scored = [row for row in rows.tolist() if catalog.has_vector(5)[row]]
    buried = [catalog.item(row).categories == ("c2",) for row in scored]
    assert any(buried) and buried == sorted(buried)


async def test_an_item_is_pinned_though_the_user_took_it_and_no_source_found_it():
    catalog = assorted()
    catalog.put(item("far"), vector(-9, 9, -9))
    made = runner(
        catalog, PaperModel(), default={"nearest": 5, "popular": 0, "trending": 0, "fresh": 0, "similar": 0}
    )
    rules = ListRules(pins=[Pin(item_id="i003", position=2), Pin(item_id="far", position=0)])
    stored = user(("like", "i003"), ("like", "i017"))
    tail = Tail().add([(1, hash64("far"))], 100)
    ranked = await ask(made, stored, count=5, rules=rules, surface=DEFAULT_SURFACE, tail=tail)
    assert (ids(ranked)[0], ids(ranked)[2]) == ("far", "i003")
    assert ranked.slate.items[0].source == "pinned"
    assert ranked.slate.items[0].reason.kind == slate_pb2.REASON_KIND_PINNED
    assert "i017" not in ids(ranked)


@pytest.mark.parametrize(
    "fields",
    [
        {"filter": category("c9")},
        {"domain": "elsewhere"},
        {"excluded": frozenset({"gone"})},
        {"served": frozenset({hash64("gone")})},
    ],
)
async def test_an_item_that_the_request_rules_out_is_not_pinned(fields):
    catalog = assorted(30)
    catalog.put(item("gone", categories=["c0"]), vector(1))
    made = runner(catalog, PaperModel())
    assert "gone" not in ids(await ask(made, rules=ListRules(pins=[Pin(item_id="gone")]), **fields))


@pytest.mark.parametrize("fields", [{"withdrawn": True}, {"expires_at_ms": NOW_MS}, None])
async def test_a_pin_of_an_item_that_may_not_be_listed_is_missed_and_counted(fields):
    catalog = assorted(30)
    if fields is not None:
        catalog.put(item("gone", **fields), vector(1))
    made = runner(catalog, PaperModel())
    missed = metrics.RULES_APPLIED.labels("pin", "missed")._value
    before = missed.get()
    ranked = await ask(made, rules=ListRules(pins=[Pin(item_id="gone"), Pin(item_id="i001", position=1)]))
    assert "gone" not in ids(ranked) and len(ids(ranked)) == 10
    assert ids(ranked)[1] == "i001"
    assert missed.get() == before + 1


async def test_a_user_gets_no_items_of_their_own_not_even_pinned_ones_and_the_list_is_full():
    catalog = assorted(60)
    for n in range(0, 60, 2):
        owners = {"seller": Attribute(texts=["bob", "ann"] if n % 4 else ["ann"])}
        catalog.put(item(f"i{n:03}", attributes=owners), vector(n, 1))
    made = runner(catalog, PaperModel())
    rules = ListRules(owner_field="attributes.seller", pins=[Pin(item_id="i000")])
    others = {f"i{n:03}" for n in range(1, 60, 2)}
    assert set(ids(await ask(made, count=30, rules=rules))) == others
    of_bob = ids(await ask(made, user(user_id="bob"), user_id="bob", count=60, rules=rules))
    assert set(of_bob) == others | {f"i{n:03}" for n in range(0, 60, 4)} and of_bob[0] == "i000"
    assert len(ids(await ask(made, user(user_id="eve"), user_id="eve", count=60, rules=rules))) == 60


async def test_the_owners_of_the_surface_hold_beside_those_of_the_request():
    catalog = FilledCatalog(lambda: NOW_MS)
    for item_id, name in (("sold", "seller"), ("written", "author"), ("free", "editor")):
        catalog.put(item(item_id, attributes={name: Attribute(texts=["ann"])}), vector(1))
    made = runner(catalog, PaperModel(), default={"rules": {"owner_field": "attributes.author"}})
    rules = ListRules(owner_field="attributes.seller")
    assert set(ids(await ask(made, surface=DEFAULT_SURFACE))) == {"sold", "free"}
    assert ids(await ask(made, surface=DEFAULT_SURFACE, rules=rules)) == ["free"]


async def test_an_item_that_becomes_the_users_own_while_the_model_runs_is_left_out():
    catalog = assorted(30)
    model = PaperModel()
    answer = model.rank

    async def rank(*args, **kwargs):
        catalog.put(item("i005", attributes={"seller": Attribute(texts=["ann"])}), vector(5))
        return await answer(*args, **kwargs)

    model.rank = rank
    stored = with_state(user(("like", "i003")), vector(1, -2, 3))
    rules = ListRules(owner_field="attributes.seller")
    listed = ids(await ask(runner(catalog, model), stored, count=29, rules=rules))
    assert "i005" not in listed and "i006" in listed


@pytest.mark.parametrize("stored", [None, user(("like", "i003"))])
async def test_a_promotion_finds_items_that_no_source_brings(stored):
    catalog = assorted()
    for n in range(5):
        catalog.put(item(f"own{n}", categories=["own"]), vector(-9, 9, -9) if n else None)
    sources = {"nearest": 20, "popular": 60, "trending": 60, "fresh": 0, "similar": 0, "exploration_share": 0}
    made = runner(catalog, PaperModel(), default=sources)
    catalog.popular({f"i{n:03}": 5 for n in range(60)})
    rules = ListRules(promotions=[Promotion(name="own brand", filter=category("own"), share=0.2)])
    slate = (await ask(made, stored, count=20, rules=rules, surface=DEFAULT_SURFACE)).slate
    own = [at for at, each in enumerate(slate.items) if each.item_id.startswith("own")]
    assert own == [4, 9, 14, 19]
    assert {slate.items[at].source for at in own} == {"promoted"}
    assert {(slate.items[at].reason.kind, slate.items[at].reason.rule) for at in own} == {
        (slate_pb2.REASON_KIND_PROMOTED, "own brand")
    }


async def test_promotions_retrieve_a_bounded_number_of_items():
    catalog = assorted()
    made = runner(catalog, PaperModel(), default={"nearest": 0, "popular": 0, "fresh": 0, "similar": 0})
    rules = ListRules(
        promotions=[Promotion(name=f"p{n}", filter=category(*CATEGORIES), share=1) for n in range(32)]
    )
    [scored] = await made.score([query(None, count=5, rules=rules)])
    assert len(scored.candidates) <= 3 * 5


async def test_a_cap_counts_the_values_of_an_attribute():
    catalog = assorted()
    made = runner(catalog, PaperModel(), default={"popular": 500})
    rules = ListRules(caps=[Cap(field="attributes.brand", most=2)])
    brands = values_of(catalog, (await ask(made, count=8, rules=rules)).rows.tolist(), "attributes.brand")
    assert all(brands.count(each) <= 2 for each in BRANDS)


async def test_a_number_and_the_same_text_are_two_values_and_items_without_one_are_not_capped():
    catalog = FilledCatalog(lambda: NOW_MS)
    values = {"texts": ["7"]}, {"texts": ["7", "8"]}, {"numbers": [7]}, {"numbers": [7.0, 1]}, {}, {}
    for n, value in enumerate(values):
        catalog.put(
            item(f"i{n}", attributes={"code": Attribute(**value)} if value else {}), vector(1 - n / 10)
        )
    rules = ListRules(caps=[Cap(field="attributes.code", most=1)])
    listed = ids(await ask(runner(catalog, PaperModel(), default={"popular": 500}), count=4, rules=rules))
    assert {"i4", "i5"} < set(listed)
    assert len({"i0", "i1"} & set(listed)) == len({"i2", "i3"} & set(listed)) == 1


async def test_diversity_lists_items_that_differ():
    catalog = FilledCatalog(lambda: NOW_MS)
    for n in range(30):
        catalog.put(item(f"near{n:02}"), vector(3 - n / 100, 0.01 * n))
    for n in range(5):
        catalog.put(item(f"else{n}"), vector(1, *np.eye(5)[n] * 3))
    made = runner(catalog, PaperModel())
    stored = with_state(user(("like", "x")), vector(1))

    async def near(diversity: float | None) -> int:
        rules = ListRules(diversity=diversity)
        return sum(each.startswith("near") for each in ids(await ask(made, stored, rules=rules)))

    assert await near(None) == await near(0) == 10
    missed = metrics.RULES_APPLIED.labels("diversity", "missed")._value
    before = missed.get()
    assert await near(0.7) == 5
    assert missed.get() == before
    # Without a profile there is no model version, and so there are no vectors.
    await ask(made, stored, unavailable=True, rules=ListRules(diversity=0.7))
    assert missed.get() == before + 1


async def test_an_item_that_was_shown_and_not_acted_on_sinks():
    catalog = assorted(40)
    made = runner(catalog, PaperModel())
    stored = with_state(user(("like", "i003")), vector(1, -1, 2))
    first = ids(await ask(made, stored))[0]

    def shown(times: int, hours_ago: float) -> Stored:
        moment = NOW_MS - int(hours_ago * 3_600_000)
        seen = [
            Impression(f"v{n}", (first,), moment + n, Position(b"t" * 16, 0, 100 + n)) for n in range(times)
        ]
        return Stored(stored.revision, replace(stored.profile, impressions=tuple(seen)))

    rules = ListRules(rotation=rules_pb2.Rotation(strength=1))
    places = [ids(await ask(made, shown(n, 2), count=39, rules=rules)).index(first) for n in (0, 1, 3, 20)]
    assert places[0] == 0 and places == sorted(places) and places[-1] > 10
    assert ids(await ask(made, shown(20, 25), rules=rules))[0] == first
    assert ids(await ask(made, shown(20, 2)))[0] == first


async def test_the_rules_of_a_surface_hold_at_the_moment_of_the_query():
    catalog = assorted(40)
    pin = {
        "item_id": "i020",
        "position": 0,
        "start_time": "2027-01-15T08:00:00Z",
        "end_time": "2027-01-15T09:00:00Z",
    }
    made = runner(catalog, PaperModel(), default={"rules": {"pins": [pin]}}, surfaces={"home": {}})
    start = 1_800_000_000_000
    firsts = [
        await ask(made, surface="home", now_ms=start + moved) for moved in (-1, 0, 3_599_999, 3_600_000)
    ]
    assert [ids(each)[0] == "i020" for each in firsts] == [False, True, True, False]
    assert [each.until_ms for each in firsts] == [start, start + 3_600_000, start + 3_600_000, None]
    # The surface of evaluations has no rules, unless the request has.
    assert ids(await ask(made, now_ms=start))[0] != "i020"


async def test_the_requests_rules_come_on_top_of_the_surfaces():
    catalog = assorted(40)
    made = runner(
        catalog, PaperModel(), surfaces={"home": {"rules": {"pins": [{"item_id": "i020", "position": 0}]}}}
    )
    rules = ListRules(pins=[Pin(item_id="i021", position=1)])
    assert ids(await ask(made, surface="home", rules=rules))[:2] == ["i020", "i021"]
    rules = ListRules(pins=[Pin(item_id="i021")])
    assert ids(await ask(made, surface="home", rules=rules))[0] == "i021"


async def test_lists_without_rules_are_as_they_were():
    catalog = assorted()
    made = runner(catalog, PaperModel())
    stored = user(("like", "i003"))
    for surface in ("evaluation", DEFAULT_SURFACE):
        plain = await ask(made, stored, count=30, surface=surface)
        empty = await ask(made, stored, count=30, surface=surface, rules=ListRules())
        assert plain.slate.items == empty.slate.items
