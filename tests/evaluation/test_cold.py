"""Hidden items are in no training event and in no history, and are the targets."""

import numpy as np
import pytest

from evaluation.baselines.popularity import Popularity
from evaluation.errors import TimesMissing
from evaluation.protocols.cold import ColdMethod, NearestText, Pooled, cold_items
from evaluation.protocols.held_out import pools
from evaluation.protocols.split import Split, split, training_part
from tests.evaluation.world import crowd, ids, known

EVENTS = known(crowd(users=120, items=40))


def test_hidden_items_are_in_no_history_and_are_targets() -> None:
    found = split(EVENTS, "cold-items")
    hidden, warm = pools(EVENTS)
    assert len(hidden) == len(warm) == 4 and not set(hidden) & set(warm)
    assert (
        not np.isin(found.training_events.items, hidden).any()
        and np.isin(found.training_events.items, warm).any()
    )
    assert all(not np.isin(found.known.items[rows], hidden).any() for rows in found.queries.before)
    assert all(np.isin(items, hidden).all() for items in found.relevant)
    others = split(EVENTS, "warm-items")
    assert all(np.isin(items, warm).all() for items in others.relevant)
    assert (
        others.training_events.fingerprint()
        == found.training_events.fingerprint()
        == training_part(EVENTS, "cold-items").fingerprint()
    )
    with pytest.raises(TimesMissing):
        split(known(crowd(), timed=False), "cold-items")


def test_histories_are_the_earlier_events_without_hidden_items() -> None:
    found = split(EVENTS, "cold-items")
    hidden, _ = pools(EVENTS)
    for user, before, time_ms in zip(
        found.queries.users, found.queries.before, found.queries.time_ms, strict=True
    ):
        own = (EVENTS.users == user) & (EVENTS.time_ms < time_ms) & ~np.isin(EVENTS.items, hidden)
        assert ids(EVENTS, EVENTS.items[before]) == ids(EVENTS, EVENTS.items[own])


def test_consumed_items_are_on_no_list_hidden_or_not() -> None:
    found = split(EVENTS, "cold-items")
    hidden, _ = pools(EVENTS)
    again = 0
    for place, (user, time_ms) in enumerate(zip(found.queries.users, found.queries.time_ms, strict=True)):
        own = set(EVENTS.items[(EVENTS.users == user) & (EVENTS.time_ms < time_ms)].tolist())
        assert set(found.consumed(place).tolist()) == own and not own & set(found.relevant[place].tolist())
        again += len(own & set(hidden.tolist()))
    # Otherwise the test would show nothing.
    assert again


def test_the_validation_has_none_of_the_targets_of_the_test() -> None:
    test, validation = split(EVENTS, "cold-items"), split(EVENTS, "cold-items", "validation")
    assert len(validation.known) == int(len(EVENTS) * 0.9)
    assert validation.known.time_ms.max() <= test.queries.time_ms.min()
    assert validation.training.sum() < test.training.sum()
    other = split(EVENTS, "cold-items", seed=1)
    assert set(pools(EVENTS, 1)[0]) != set(pools(EVENTS)[0])
    assert all(np.isin(items, pools(EVENTS, 1)[0]).all() for items in other.relevant)


def test_shown_items_are_targets_on_the_same_training_part() -> None:
    hidden, _ = pools(EVENTS)
    found = split(EVENTS, "shown-items")
    assert found.training_events.fingerprint() == split(EVENTS, "cold-items").training_events.fingerprint()
    wanted = np.unique(np.concatenate(found.relevant))
    assert not np.isin(wanted, hidden).any() and len(wanted) > len(pools(EVENTS)[1])


def test_recall_of_hidden_items_is_divided_by_that_of_known_ones() -> None:
    events = known(crowd(users=200, items=200, length=20))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(events.item_ids), 4)).astype(np.float32)

    def rows(asked: Split) -> list[ColdMethod]:
        text = NearestText(asked.known, vectors)
        nothing = Pooled(text, np.zeros(0, np.int64))
        return [ColdMethod(text, text), ColdMethod(nothing, nothing)]

    text, nothing = cold_items(events, rows).rows
    low, high = text.of_warm_interval
    assert text.of_warm == pytest.approx(text.recall["cold"] / text.recall["warm"])
    assert 0 < low < text.of_warm < high
    # A method that lists nothing has no ratio, and JSON has no number for it.
    assert np.isnan(nothing.of_warm) and "cold_of_warm" not in nothing.as_dict()


def test_a_text_method_is_above_chance_and_popularity_is_below() -> None:
    # The texts of neighbouring items are similar: they lie on a circle.
    angle = 2 * np.pi * np.array([int(item[1:]) for item in EVENTS.item_ids]) / 40
    vectors = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)

    def rows(asked: Split) -> list[ColdMethod]:
        text, popular = NearestText(asked.known, vectors), Popularity(asked.known, asked.training, None)
        return [ColdMethod(text, text), ColdMethod(popular, popular)]

    found = cold_items(EVENTS, rows)
    text, popular = found.rows
    assert (
        text.recall["full"] > 1.5 * found.chance["full"]
        and popular.recall["full"] < 0.5 * found.chance["full"]
    )
    # A list has more positions than the pool has items.
    assert found.chance["cold"] == found.chance["warm"] == text.recall["cold"] == 1
    low, high = text.intervals["full"]
    assert low <= text.recall["full"] <= high
    said = found.as_dict()
    assert said["protocol"] == "cold-items" and said["hidden"] == 4


def test_a_pooled_method_lists_only_its_pool() -> None:
    found = split(EVENTS, "warm-items")
    pool = np.array([3, 5])
    scores = Pooled(Popularity(found.known, found.training, None), pool).scores(found.queries)
    assert np.isfinite(scores[:, pool]).all() and np.isinf(np.delete(scores, pool, axis=1)).all()


def test_a_user_without_history_is_near_no_text() -> None:
    found = split(EVENTS, "cold-items")
    row = NearestText(found.known, np.eye(len(EVENTS.item_ids), dtype=np.float32))
    alone = found.queries.part(0, 1)
    nobody = type(alone)(alone.users, [np.zeros(0, np.int64)], alone.time_ms, alone.visible)
    assert (row.scores(nobody) == 0).all()
