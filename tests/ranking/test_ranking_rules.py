"""Rules by themselves: what they do to scores, to the order and to positions, and when they hold."""

from collections.abc import Sequence
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.filters.filter_text import parse
from profiles.folding.events import Position
from profiles.profile import Entry, Impression, Profile
from ranking.rules.active import NO_RULES, active
from ranking.rules.boosts import Boost, boosted, strongest
from ranking.rules.check import problems
from ranking.rules.diversity import diversified
from ranking.rules.placement import BY_ORDER, BY_PIN, Cap, Pin, Placement, Quota, place
from ranking.rules.rotation import rotated, shown
from ranking.rules.settings import RulesSettings
from ranking.selector import select
from ranking.settings import SurfaceSettings
from recstream.v1 import rules_pb2

# Placement


@st.composite
def placements(draw):
    """The arguments of `place`, for up to 24 candidates."""
    size = draw(st.integers(0, 24))
    length = draw(st.integers(0, 28))
    order = draw(st.permutations(range(size)))
    candidates = draw(st.lists(st.sampled_from(order), max_size=4, unique=True)) if size else []
    positions = draw(
        st.lists(st.integers(0, 27), min_size=len(candidates), max_size=len(candidates), unique=True)
    )
    # Pins beyond the length that is asked for never get here.
    pins = [Pin(*each) for each in zip(candidates, positions, strict=True) if each[1] < length]
    codes = st.lists(st.integers(-1, 3), min_size=size, max_size=size)
    masks = st.lists(st.booleans(), min_size=size, max_size=size)
    caps = [
        Cap(np.array(draw(codes), np.int64), draw(st.integers(1, 6))) for _ in range(draw(st.integers(0, 3)))
    ]
    quotas = [
        Quota(np.array(draw(masks), np.bool_), draw(st.integers(0, 12)))
        for _ in range(draw(st.integers(0, 3)))
    ]
    return np.array(order, np.int64), length, pins, caps, quotas


def placed(case) -> Placement:
    order, length, pins, caps, quotas = case
    return place(order, length, pins=pins, caps=caps, quotas=quotas)


def excess(candidate: int, listed: Sequence[int], caps: Sequence[Cap]) -> int:
    """How many caps the candidate would exceed on this list."""
    return sum(
        cap.codes[candidate] >= 0
        and sum(cap.codes[other] == cap.codes[candidate] for other in listed) >= cap.most
        for cap in caps
    )


def naive(order, length, pins, caps, quotas) -> list[int]:
    """The list, by the rules as they are said, one candidate after the other."""
    order = order.tolist()
    length = min(length, len(order))
    at: dict[int, int] = {}
    end = length
    for pin in sorted(pins, key=lambda pin: pin.position, reverse=True):
        end = min(pin.position, end - 1)
        at[end] = pin.candidate

    def filled(quotas) -> tuple[list[int], set[int], list[list[int]]]:
        listed, over = list(at.values()), set()
        brought = [[] for _ in quotas]

        def take(candidates, count, within) -> list[int]:
            found = []
            while len(found) < count and len(listed) < length:
                left = [each for each in candidates if each not in listed]
                if not left:
                    break
                best = min(left, key=lambda each: excess(each, listed, caps))
                if excess(best, listed, caps):
                    if within:
                        break
                    over.add(best)
                listed.append(best)
                found.append(best)
            return found

        for within in (True, False):
            for quota, mine in zip(quotas, brought, strict=True):
                matching = [each for each in order if quota.mask[each]]
                mine += take(matching, quota.positions - sum(quota.mask[each] for each in listed), within)
            take(order, length, within)
        return listed, over, brought

    plain, over, _ = filled([])
    listed, moved = plain, []
    if any(sum(quota.mask[each] for each in plain) < quota.positions for quota in quotas):
        listed, over, brought = filled(quotas)
        for index, mine in enumerate(brought):
            new = [each for each in mine if each not in plain]
            moved += [((turn + 1) / len(new), index, order.index(each)) for turn, each in enumerate(new)]
        moved = [order[rank] for _, _, rank in sorted(moved)]
    rest = sorted(
        set(listed) - set(at.values()) - set(moved), key=lambda each: (each in over, order.index(each))
    )
    free = [position for position in range(length) if position not in at]
    spread = {free[(turn + 1) * len(free) // len(moved) - 1]: each for turn, each in enumerate(moved)}
    taken = {**at, **spread}
    others = iter(rest)
    return [taken[position] if position in taken else next(others) for position in range(length)]


@given(placements())
def test_placement_is_what_the_rules_say(case):
    assert placed(case).chosen.tolist() == naive(*case)


@given(placements())
def test_no_rule_shortens_a_list_or_repeats_a_candidate(case):
    chosen = placed(case).chosen.tolist()
    assert len(chosen) == len(set(chosen)) == min(case[1], len(case[0]))


@given(placements())
def test_a_pin_stands_at_its_position(case):
    order, length, pins, _, _ = case
    placement = placed(case)
    for pin in pins:
        at = placement.chosen.tolist().index(pin.candidate)
        assert placement.placed_by[at] == BY_PIN
        assert at == pin.position or len(order) < length
    assert int((placement.placed_by == BY_PIN).sum()) == len(pins)


@given(placements())
def test_a_cap_holds_while_there_is_another_candidate(case):
    order, _, pins, caps, _ = case
    placement = placed(case)
    chosen = placement.chosen.tolist()
    pinned = {pin.candidate for pin in pins}
    exceeds = [
        each
        for each in chosen
        if each not in pinned
        and any(
            cap.codes[each] >= 0 and int((cap.codes[chosen] == cap.codes[each]).sum()) > cap.most
            for cap in caps
        )
    ]
    if exceeds:
        assert all(excess(each, chosen, caps) for each in set(order.tolist()) - set(chosen))
    assert placement.exceeded == sum(
        any(int((cap.codes[chosen] == code).sum()) > cap.most for code in range(4)) for cap in caps
    )


@given(placements())
def test_a_share_holds_while_there_is_a_candidate_that_caps_allow(case):
    order, _, pins, caps, quotas = case
    placement = placed(case)
    chosen = placement.chosen.tolist()
    protected = {pin.candidate for pin in pins}
    for index, quota in enumerate(quotas):
        protected |= {each for each in chosen if quota.mask[each]}
        if int(quota.mask[chosen].sum()) >= quota.positions:
            assert index not in placement.missed
            continue
        assert index in placement.missed
        left = [each for each in set(order.tolist()) - set(chosen) if quota.mask[each]]
        # Otherwise the whole list belongs to pins, earlier shares and this one.
        assert all(excess(each, chosen, caps) for each in left) or set(chosen) == protected


@given(placements())
def test_without_rules_the_list_is_the_order(case):
    order, length, *_ = case
    placement = place(order, length)
    assert placement.chosen.tolist() == order[:length].tolist()
    assert (placement.placed_by == BY_ORDER).all()


@given(placements())
def test_what_no_rule_placed_stays_in_order(case):
    order, _, _, _, _ = case
    placement = placed((*case[:3], [], case[4]))
    ranks = [
        order.tolist().index(each)
        for each, by in zip(placement.chosen.tolist(), placement.placed_by.tolist(), strict=True)
        if by == BY_ORDER
    ]
    assert ranks == sorted(ranks)


def test_promotions_take_turns_and_are_spread_over_the_list():
    order = np.arange(30)
    masks = [np.isin(order, some) for some in ([20, 21], [25, 26])]
    placement = place(order, 8, quotas=[Quota(mask, 2) for mask in masks])
    assert placement.chosen.tolist() == [0, 20, 1, 25, 2, 21, 3, 26]
    assert placement.placed_by.tolist() == [-1, 0, -1, 1, -1, 0, -1, 1]


def test_where_every_candidate_exceeds_a_cap_the_one_that_exceeds_the_fewest_is_taken():
    category = Cap(np.array([0, 0, 0, 0]), 1)
    brand = Cap(np.array([0, 0, 1, 1]), 1)
    assert place(np.arange(4), 2, caps=[category, brand]).chosen.tolist() == [0, 2]


# Scores

finite = st.floats(-1e6, 1e6)


@given(st.lists(st.one_of(finite, st.sampled_from([np.nan, np.inf, -np.inf])), max_size=30), st.data())
def test_boosts_add_up_in_standard_deviations_and_score_no_candidate_that_has_no_score(values, data):
    scores = np.array(values, np.float64)
    masks = st.lists(st.booleans(), min_size=len(values), max_size=len(values))
    boosts = [
        Boost(f"b{n}", np.array(data.draw(masks), np.bool_), data.draw(st.floats(-10, 10))) for n in range(3)
    ]
    moved = boosted(scores, boosts)
    known = np.isfinite(scores)
    assert np.array_equal(np.isfinite(moved), known)
    unit = scores[known].std() if known.any() else 0
    expected = scores + sum(each.strength * each.mask for each in boosts) * (unit if unit > 0 else 1)
    np.testing.assert_allclose(moved[known], expected[known], rtol=1e-9, atol=1e-6)
    untouched = ~np.any([each.mask for each in boosts], axis=0)
    assert np.array_equal(moved[untouched], scores[untouched], equal_nan=True)


def test_a_boost_orders_candidates_whose_scores_are_equal():
    assert boosted(np.zeros(3), [Boost("up", np.array([False, True, False]), 0.5)]).argmax() == 1


def test_the_boost_that_moves_an_item_most_is_named():
    boosts = [
        Boost("a", np.array([True, True, False]), 1),
        Boost("b", np.array([True, False, False]), -2),
        Boost("none", np.ones(3, np.bool_), 0),
    ]
    assert strongest(boosts, np.array([2, 1, 0])) == ["", "a", "b"]


def entry(item_id: str, time_ms: int, action: str) -> Entry:
    return Entry(f"{action}-{time_ms}", item_id, action, time_ms, Position(b"t" * 16, 0, time_ms))


def test_impressions_count_since_the_last_action_and_within_the_period():
    profile = Profile(
        "ann",
        history=(entry("acted", 50, "click"),),
        impressions=tuple(
            Impression(f"seen-{time_ms}", item_ids, time_ms, Position(b"t" * 16, 0, time_ms))
            for item_ids, time_ms in [
                (("old",), 10),
                (("acted",), 40),
                (("acted", "new"), 60),
                (("new",), 80),
            ]
        ),
    )
    assert shown(profile, 10) == {"acted": 1, "new": 2}


def test_the_more_often_an_item_was_shown_the_more_it_loses():
    assert rotated(np.array([0, 1, 3]), 0.5).tolist() == [0, 0.5, 0.5 * log2(4)]


# Diversity


@st.composite
def pools(draw):
    size = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = rng.normal(size=(size, 4)).astype(np.float32)
    vectors[rng.random(size) < 0.2] = 0
    return np.sort(rng.normal(size=size))[::-1], vectors, draw(st.floats(0.01, 1)), draw(st.integers(1, 35))


@given(pools())
def test_each_position_has_the_largest_marginal_relevance(pool):
    scores, vectors, diversity, length = pool
    order = diversified(scores, vectors, diversity, length).tolist()
    assert sorted(order) == list(range(len(scores)))
    steps = min(length, len(scores))
    # Beyond the list nothing moves.
    assert order[steps:] == sorted(order[steps:])
    scores = scores[: 8 * length]  # The others are not in the pool.
    span = scores[0] - scores[-1]
    relevance = (scores - scores[-1]) / span if span > 0 else np.zeros(len(scores))
    lengths = np.linalg.norm(vectors, axis=1)

    def cosine(one: int, other: int) -> float:
        product = lengths[one] * lengths[other]
        return float(vectors[one] @ vectors[other] / product) if product > 0 else 0.0

    for at in range(steps):
        above = order[:at]
        left = [each for each in order[at:] if each < len(scores)]
        marginal = {
            each: (1 - diversity) * relevance[each]
            - diversity * max((cosine(each, other) for other in above), default=0.0)
            for each in left
        }
        assert marginal[order[at]] >= max(marginal.values()) - 1e-4


def test_without_diversity_or_vectors_nothing_moves():
    scores = np.array([3.0, 2.0, 1.0])
    vectors = np.ones((3, 2), np.float32)
    assert diversified(scores, vectors, 0, 3).tolist() == [0, 1, 2]
    assert diversified(scores, vectors[:, :0], 1, 3).tolist() == [0, 1, 2]


def test_an_equal_item_waits_for_one_that_differs():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    assert diversified(np.array([1.0, 0.9, 0.0]), vectors, 0.7, 3).tolist() == [0, 2, 1]


@pytest.mark.parametrize("span", [0.0, 1e308])
def test_scores_that_are_equal_or_very_large_are_no_problem(span):
    vectors = np.eye(3, dtype=np.float32)
    assert diversified(np.array([span, 0.0, -span]), vectors, 0.5, 3).tolist() == [0, 1, 2]


# The rules that hold


def window(start: int | None = None, end: int | None = None) -> rules_pb2.TimeWindow:
    made = rules_pb2.TimeWindow()
    if start is not None:
        made.start_time.FromMilliseconds(start)
    if end is not None:
        made.end_time.FromMilliseconds(end)
    return made


ANY = parse("category:*")


def test_a_rule_holds_from_its_start_until_just_before_its_end():
    rules = rules_pb2.ListRules(
        pins=[rules_pb2.Pin(item_id="a", window=window(100, 200)), rules_pb2.Pin(item_id="b", position=1)],
        boosts=[rules_pb2.Boost(name="x", filter=ANY, strength=1, window=window(150, None))],
    )
    held = [(now, active(rules, None, now)) for now in (99, 100, 149, 150, 199, 200)]
    assert [len(each.pins) for _, each in held] == [1, 2, 2, 2, 2, 1]
    assert [len(each.boosts) for _, each in held] == [0, 0, 0, 1, 1, 1]
    assert [each.until_ms for _, each in held] == [100, 150, 150, 200, 200, None]


def test_a_window_that_begins_within_a_millisecond_begins_at_the_next():
    rules = rules_pb2.ListRules(pins=[rules_pb2.Pin(item_id="a", window=window(100))])
    rules.pins[0].window.start_time.nanos += 1
    assert not active(rules, None, 100).pins
    assert active(rules, None, 100).until_ms == 101
    assert active(rules, None, 101).pins


def test_rules_of_surface_and_request_add_up_and_the_requests_dials_replace_the_surfaces():
    surface = rules_pb2.ListRules(
        promotions=[rules_pb2.Promotion(name="surface", filter=ANY, share=0.1)],
        pins=[rules_pb2.Pin(item_id="a"), rules_pb2.Pin(item_id="b", position=1)],
        diversity=0.5,
        rotation=rules_pb2.Rotation(strength=2),
    )
    requested = rules_pb2.ListRules(
        promotions=[rules_pb2.Promotion(name="request", filter=ANY, share=0.1)],
        pins=[rules_pb2.Pin(item_id="c"), rules_pb2.Pin(item_id="b", position=5)],
        diversity=0,
    )
    rules = active(surface, requested, 1)
    assert [each.name for each in rules.promotions] == ["request", "surface"]
    assert [(each.item_id, each.position) for each in rules.pins] == [("c", 0), ("b", 5)]
    assert (rules.diversity, rules.rotation, rules.rotation_ms) == (0, 2, 86_400_000)
    assert active(None, None, 1) is NO_RULES


# Checks


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"boosts": [{"filter": {}, "strength": 1}]}, "boosts[0].name"),
        ({"boosts": [{"name": "x", "strength": 1}]}, "boosts[0].filter"),
        ({"boosts": [{"name": "x", "filter": {}, "strength": 10.5}]}, "boosts[0].strength"),
        ({"boosts": [{"name": "x", "filter": {}, "strength": float("nan")}]}, "boosts[0].strength"),
        ({"boosts": [{"name": "x", "filter": {}}] * 33}, "boosts"),
        ({"pins": [{"position": 1}]}, "pins[0].item_id"),
        ({"pins": [{"item_id": "a", "position": -1}]}, "pins[0].position"),
        ({"pins": [{"item_id": "a", "position": 20}]}, "pins[0].position"),
        ({"pins": [{"item_id": "a"}, {"item_id": "b"}]}, "pins[1].position"),
        ({"pins": [{"item_id": "a"}, {"item_id": "a", "position": 1}]}, "pins[1].item_id"),
        ({"pins": [{"item_id": str(n), "position": n} for n in range(21)]}, "pins"),
        ({"promotions": [{"name": "x", "share": 0.5}]}, "promotions[0].filter"),
        ({"promotions": [{"name": "x", "filter": {}, "share": 1.5}]}, "promotions[0].share"),
        ({"caps": [{"field": "brand", "most": 1}]}, "caps[0].field"),
        ({"caps": [{"field": "attributes.", "most": 1}]}, "caps[0].field"),
        ({"caps": [{"field": "category"}]}, "caps[0]"),
        ({"caps": [{"field": "category", "most": 0}]}, "caps[0].most"),
        ({"caps": [{"field": "category", "share": 0}]}, "caps[0].share"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": float("nan")}, "diversity"),
        ({"owner_field": "seller"}, "owner_field"),
        ({"owner_field": " "}, "owner_field"),
        ({"owner_field": "category"}, "owner_field"),
        ({"rotation": {"strength": -1}}, "rotation.strength"),
        ({"rotation": {"period": {"seconds": 0}}}, "rotation.period"),
        ({"pins": [{"item_id": "a", "window": window(2, 2)}]}, "pins[0].window"),
        (
            {"pins": [{"item_id": "a", "window": {"end_time": {"seconds": 10**15}}}]},
            "pins[0].window.end_time",
        ),
    ],
)
def test_a_problem_names_its_place(rules, field):
    assert [place for place, _ in problems(rules_pb2.ListRules(**rules), 20)] == [field]


def test_two_pins_may_have_one_position_at_different_times():
    pins = [
        rules_pb2.Pin(item_id="a", window=window(None, 100)),
        rules_pb2.Pin(item_id="b", window=window(100, None)),
    ]
    assert not list(problems(rules_pb2.ListRules(pins=pins)))


# Settings


def test_the_rules_of_settings_are_those_of_a_request():
    settings = RulesSettings.model_validate(
        {
            "boosts": [
                {
                    "name": "sale",
                    "filter": "category = a",
                    "strength": 2,
                    "start_time": "2030-01-01T00:00:00+01:00",
                }
            ],
            "pins": [{"item_id": "i", "position": 3}],
            "promotions": [{"name": "own", "filter": "category:*", "share": 0.2}],
            "caps": [{"field": "category", "most": 2}, {"field": "attributes.brand", "share": 0.25}],
            "diversity": 0.3,
            "rotation": {"strength": 1, "hours": 48},
            "owner_field": "attributes.seller",
        }
    )
    starts = rules_pb2.TimeWindow()
    starts.start_time.FromJsonString("2029-12-31T23:00:00Z")
    expected = rules_pb2.ListRules(
        boosts=[rules_pb2.Boost(name="sale", filter=parse("category = a"), strength=2, window=starts)],
        pins=[rules_pb2.Pin(item_id="i", position=3)],
        promotions=[rules_pb2.Promotion(name="own", filter=ANY, share=0.2)],
        caps=[rules_pb2.Cap(field="category", most=2), rules_pb2.Cap(field="attributes.brand", share=0.25)],
        diversity=0.3,
        rotation=rules_pb2.Rotation(strength=1),
        owner_field="attributes.seller",
    )
    expected.rotation.period.FromSeconds(48 * 3600)
    assert settings.message() == expected
    assert RulesSettings().message() is None


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"boosts": [{"name": "x", "filter": "nonsense", "strength": 1}]}, "is not a filter"),
        ({"boosts": [{"name": "x", "filter": "category:*", "strength": 11}]}, r"boosts\[0\].strength is 11"),
        ({"caps": [{"field": "category", "most": 1, "share": 0.5}]}, "either most or share"),
        ({"pins": [{"item_id": "a", "position": 0, "end_time": "2030-01-01T00:00:00"}]}, "timezone"),
    ],
)
def test_wrong_rules_are_refused_when_settings_are_read(rules, problem):
    with pytest.raises(ValueError, match=problem):
        SurfaceSettings.model_validate({"rules": rules})


def test_a_list_of_scores_alone_needs_no_rules():
    scores = np.array([1.0, 3.0, 2.0])
    plain = select(
        scores, ["a", "b", "c"].__getitem__, np.full(3, -1), np.zeros(3, np.bool_), 2, SurfaceSettings()
    )
    assert plain.chosen.tolist() == [1, 2]
    assert plain.scores.tolist() == [3.0, 2.0]
    assert plain.rules == ("", "")
