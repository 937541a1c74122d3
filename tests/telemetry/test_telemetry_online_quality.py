"""Online quality: events joined to the lists that they name."""

import math
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from inference.bundle.bundle import Manifest
from inference.version_routing import Live, VersionRouting
from ingest import metrics
from ingest.online_quality.online_quality import OnlineQuality, position_label
from profiles.actions import Actions, default_actions
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1 import slate_pb2
from recstream.v1.interaction_pb2 import Interaction, SlateImpression, Undo

COUNTED = (metrics.SENT, metrics.IMPRESSIONS, metrics.RESPONSES, metrics.EXPECTED, metrics.OBSERVED)


def manifest(version: int) -> Manifest:
    return Manifest(
        version=version,
        width=8,
        state_width=8,
        actions=("click", "like"),
        history=64,
        refold_every=32,
        text_tokens=8,
        popularity_half_lives_days=(14,),
        files={},
    )


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    for metric in COUNTED:
        metric.clear()
    before = outcomes()
    yield
    assert set(outcomes()) == set(before)
    for metric in COUNTED:
        metric.clear()


def outcomes() -> dict[str, float]:
    return {name: value("recstream_quality_events_total", outcome=name) for name in metrics.QUALITY_OUTCOMES}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def total(metric: object) -> float:
    return sum(
        sample.value
        for family in metric.collect()  # type: ignore[attr-defined]
        for sample in family.samples
        if sample.name.endswith("_total")
    )


def quality(clock: Clock | None = None, slates: int = 100, *live: int) -> OnlineQuality:
    versions = live or (7,)
    routing = VersionRouting(None, Live(manifest(versions[0])), 1.0)
    return OnlineQuality(
        Actions(default_actions()), lambda: {"default", "home"}, lambda: routing, slates, clock or Clock()
    )


def slate(slate_id: str = "s", *, surface: str = "home", version: int = 7, items: int = 20) -> SlateRecord:
    tier = slate_pb2.TIER_RANKED if version else slate_pb2.TIER_POPULAR
    ranked = [slate_pb2.RankedItem(item_id=f"item-{n}") for n in range(items)]
    made = slate_pb2.Slate(slate_id=slate_id, items=ranked, model_version=version, tier=tier)
    record = SlateRecord(user_id="u", slate=made, surface=surface, sent_at_ms=1)
    if version:
        record.actions[:] = ["click", "like"]
        record.probabilities[:] = [0.5, 0.25] * items
    return record


def event(
    action: str, item: int = 0, slate_id: str = "s", rating: float | None = None, user: str = "u"
) -> Interaction:
    if action == "impression":
        return impression([item], slate_id, user)
    return Interaction(user_id=user, item_id=f"item-{item}", action=action, slate_id=slate_id, value=rating)


def impression(items: Iterable[int], slate_id: str = "s", user: str = "u") -> Interaction:
    seen = SlateImpression(item_ids=[f"item-{item}" for item in items])
    return Interaction(user_id=user, impression=seen, slate_id=slate_id)


def test_a_seen_position_with_an_action_counts_once_however_often_events_repeat() -> None:
    measured = quality()
    measured.record_slate(slate())
    measured.record_slate(slate())
    for _ in range(3):
        measured.record_event(event("impression", 2))
        measured.record_event(event("click", 2))
    place = {"surface": "home", "version": "7", "position": "2"}
    assert value("recstream_quality_sent_total", **place) == 1
    assert value("recstream_quality_impressions_total", **place) == 1
    assert value("recstream_quality_responses_total", **place) == 1


@pytest.mark.parametrize("order", [("impression", "click"), ("click", "impression")])
def test_the_order_of_an_impression_and_its_action_does_not_matter(order: tuple[str, str]) -> None:
    measured = quality()
    measured.record_slate(slate())
    for action in order:
        measured.record_event(event(action, 4))
    assert total(metrics.RESPONSES) == total(metrics.IMPRESSIONS) == 1
    assert value("recstream_quality_observed_actions_total", action="click", version="7") == 1


def test_probabilities_are_summed_over_seen_positions_and_compared_with_actions() -> None:
    measured = quality()
    measured.record_slate(slate())
    for item in range(10):
        measured.record_event(event("impression", item))
    for item in range(4):
        measured.record_event(event("click", item))
    measured.record_event(event("like", 15))  # not seen
    of = {"version": "7"}
    assert value("recstream_quality_expected_actions_total", action="click", **of) == pytest.approx(5.0)
    assert value("recstream_quality_expected_actions_total", action="like", **of) == pytest.approx(2.5)
    assert value("recstream_quality_observed_actions_total", action="click", **of) == 4
    assert value("recstream_quality_observed_actions_total", action="like", **of) == 0


def test_each_item_of_an_impression_counts_at_its_position_once() -> None:
    before, measured = outcomes(), quality()
    measured.record_slate(slate(items=5))
    measured.record_event(impression(range(3)))
    measured.record_event(impression([4, 2, 99]))
    for place in (0, 1, 2, 4):
        labels = {"surface": "home", "version": "7", "position": str(place)}
        assert value("recstream_quality_impressions_total", **labels) == 1
    assert total(metrics.IMPRESSIONS) == 4
    grown = {name: count - before[name] for name, count in outcomes().items() if count != before[name]}
    assert grown == {"counted": 4, "duplicate": 1, "not_on_slate": 1}


def test_impressions_that_wait_for_their_slate_are_bounded_by_their_items() -> None:
    clock, before = Clock(), outcomes()
    measured = quality(clock)
    for number in range(21):
        measured.record_event(impression(range(500), f"s{number}"))
    assert outcomes()["unknown_slate"] - before["unknown_slate"] == 500
    measured.record_slate(slate("s0", items=500))
    assert total(metrics.IMPRESSIONS) == 500
    measured.record_event(impression(range(500), "s21"))
    clock.now = 11.0
    measured.expire_waiting()
    assert outcomes()["unknown_slate"] - before["unknown_slate"] == 500 + 20 * 500


def test_a_negative_action_is_no_response() -> None:
    measured = quality()
    measured.record_slate(slate())
    for item in range(3):
        measured.record_event(event("impression", item))
    measured.record_event(event("dislike", 0))
    measured.record_event(event("rate", 1, rating=2.0))
    measured.record_event(event("rate", 2, rating=4.5))
    assert total(metrics.RESPONSES) == 1


def test_a_list_that_no_model_ranked_has_positions_but_no_expectations() -> None:
    measured = quality()
    measured.record_slate(slate(version=0))
    measured.record_event(event("impression"))
    measured.record_event(event("click"))
    assert value("recstream_quality_responses_total", surface="home", version="0", position="0") == 1
    assert total(metrics.EXPECTED) == total(metrics.OBSERVED) == 0


def test_an_event_that_comes_before_its_list_waits_for_a_limited_time() -> None:
    clock, before = Clock(), outcomes()
    measured = quality(clock)
    measured.record_event(event("impression"))
    measured.record_event(event("impression", slate_id="never"))
    clock.now = 5.0
    measured.expire_waiting()
    measured.record_slate(slate())
    assert total(metrics.IMPRESSIONS) == 1
    clock.now = 11.0
    measured.expire_waiting()
    assert outcomes()["unknown_slate"] - before["unknown_slate"] == 1


def test_events_that_cannot_be_joined_are_counted_by_reason() -> None:
    before, measured = outcomes(), quality()
    measured.record_slate(slate())
    measured.record_event(event("click", slate_id=""))
    measured.record_event(event("click", 99))
    measured.record_event(event("click", 1))
    measured.record_event(Interaction(user_id="u", undo=Undo(event_id="e"), slate_id="s"))
    measured.record_event(event("no-such-action"))
    grown = {name: count - before[name] for name, count in outcomes().items() if count != before[name]}
    assert grown == {"no_slate": 1, "not_on_slate": 1, "no_impression": 1}


@pytest.mark.parametrize("slate_comes_first", [True, False])
def test_events_of_another_user_do_not_count_for_a_slate(slate_comes_first: bool) -> None:
    before, measured = outcomes(), quality()
    if slate_comes_first:
        measured.record_slate(slate())
    measured.record_event(event("impression", 3, user="stranger"))
    measured.record_event(event("click", 3, user="stranger"))
    if not slate_comes_first:
        measured.record_slate(slate())
    assert outcomes()["other_user"] - before["other_user"] == 2
    assert total(metrics.IMPRESSIONS) == total(metrics.RESPONSES) == total(metrics.EXPECTED) == 0
    measured.record_event(event("impression", 3))
    measured.record_event(event("click", 3))
    assert total(metrics.IMPRESSIONS) == total(metrics.RESPONSES) == 1
    assert outcomes()["counted"] - before["counted"] == 2


def test_long_slates_take_the_memory_of_several() -> None:
    measured = quality(Clock(), 25)
    for number, items in enumerate((20, 50, 51, 1000)):
        measured.record_slate(slate(f"s{number}", items=items))
    assert value("recstream_quality_slates_in_memory") == 4  # 1 + 1 + 2 + 20 of 25
    measured.record_slate(slate("s4", items=100))
    assert value("recstream_quality_slates_in_memory") == 4
    small = quality(Clock(), 3)
    small.record_slate(slate("longer than the memory", items=1000))
    assert value("recstream_quality_slates_in_memory") == 1


def test_the_oldest_lists_are_forgotten() -> None:
    clock, before = Clock(), outcomes()
    measured = quality(clock, 3)
    for number in range(5):
        measured.record_slate(slate(f"s{number}"))
    assert value("recstream_quality_slates_in_memory") == 3
    measured.record_event(event("impression", slate_id="s1"))
    measured.record_event(event("impression", slate_id="s4"))
    clock.now = 11.0
    measured.expire_waiting()
    assert outcomes()["unknown_slate"] - before["unknown_slate"] == 1
    assert total(metrics.IMPRESSIONS) == 1


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.text(max_size=10), st.integers(-5, 2**40), st.integers(0, 500)), min_size=1, max_size=30
    )
)
def test_the_series_are_bounded_whatever_surfaces_versions_and_lengths_come(
    lists: list[tuple[str, int, int]],
) -> None:
    measured = quality()
    for number, (surface, version, length) in enumerate(lists):
        measured.record_slate(slate(f"s{number}", surface=surface, version=version, items=length))
        measured.record_event(event("impression", length // 2, f"s{number}"))
    for metric in COUNTED[:3]:
        labels = [sample.labels for family in metric.collect() for sample in family.samples]
        assert {each["surface"] for each in labels} <= {"default", "home", "other"}
        assert {each["version"] for each in labels} <= {"0", "7", "other"}
        assert {each["position"] for each in labels} <= set(metrics.POSITIONS)


def test_a_list_that_outlives_its_version_does_not_recreate_its_series() -> None:
    live = [VersionRouting(None, Live(manifest(7)), 1.0)]
    measured = OnlineQuality(Actions(default_actions()), lambda: {"home"}, lambda: live[0], 10, Clock())
    measured.record_slate(slate())
    metrics.SENT.remove_by_labels({"version": "7"})
    live[0] = VersionRouting(None, Live(manifest(8)), 1.0)
    measured.record_event(event("impression"))
    versions = {s.labels["version"] for f in metrics.IMPRESSIONS.collect() for s in f.samples}
    assert versions == {"other"}


def test_a_probability_that_is_not_finite_is_left_out() -> None:
    measured, record = quality(), slate(items=1)
    record.probabilities[:] = [math.nan, -1.0]
    measured.record_slate(record)
    measured.record_event(event("impression"))
    assert total(metrics.EXPECTED) == 0


@pytest.mark.parametrize("count", [0, 1, 3, 39, 41])
def test_probabilities_that_do_not_fit_the_items_are_left_out(count: int) -> None:
    measured, record = quality(), slate()
    record.probabilities[:] = [0.5] * count
    measured.record_slate(record)
    measured.record_event(event("impression"))
    assert total(metrics.EXPECTED) == 0


@given(st.integers(0, 10_000))
def test_every_position_has_one_of_few_labels(place: int) -> None:
    assert position_label(place) in metrics.POSITIONS
