"""What is left out of training, counted from training rows alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data.events import Events
from models.data.preparation import DAY_MS, PreparationSettings, core, prepare, tied
from models.data.rating_scales import rating_scale
from profiles.actions import Action, Actions

ACTIONS = Actions({"rate": Action(positive_from=4.0, value_range=(1, 5)), "view": Action(repeats=True)})
Mask = NDArray[np.bool_]


def table(rows: list[tuple[int, int, int, float]], actions: list[int] | None = None) -> Events:
    """Of user, item, second and value."""
    n = len(rows)
    users, items, seconds = (np.array([row[place] for row in rows], np.int64) for place in range(3))
    return Events(
        [f"u{u}" for u in range(10)], [f"i{i}" for i in range(10)], ("rate", "view"), users, items,
        np.array(actions or [0] * n, np.int64), seconds * 1000, np.array([row[3] for row in rows], np.float32),
        np.ones(n, np.bool_), np.zeros(n, np.bool_),
    )  # fmt: skip


def everything(known: Events) -> Mask:
    return np.ones(len(known), np.bool_)


EVENTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 50), st.sampled_from([1.0, 3.0, 5.0])),
    min_size=1,
    max_size=60,
).map(lambda rows: table(sorted(rows, key=lambda row: row[2])))


@given(EVENTS, st.integers(0, 4), st.integers(0, 4))
def test_in_a_core_every_user_and_every_item_has_enough(known: Events, user: int, item: int) -> None:
    left = known.take(np.flatnonzero(core(known, everything(known), user, item)))
    for column, least in ((left.users, user), (left.items, item)):
        assert all(count >= least for count in np.unique(column, return_counts=True)[1])


def test_a_core_is_the_largest_one() -> None:
    known = table([(0, 0, 0, 5), (0, 1, 1, 5), (1, 0, 2, 5), (1, 1, 3, 5), (2, 0, 4, 5), (2, 3, 5, 5)])
    assert core(known, everything(known), 2, 2).tolist() == [True] * 4 + [False] * 2


@given(EVENTS, st.integers(0, 60))
def test_held_out_rows_touch_nothing(known: Events, cut: int) -> None:
    """Whatever stands in held-out rows, the same training rows stay and every scale is the same."""
    training = np.arange(len(known)) < cut
    held = ~training
    other = replace(
        known,
        users=np.where(held, 9, known.users),
        items=np.where(held, 9, known.items),
        values=np.where(held, 2, known.values).astype(np.float32),
        time_ms=np.where(held, known.time_ms + 7000, known.time_ms),
    )
    settings = PreparationSettings(min_user_events=2, min_item_events=2, most_events_a_day=5)
    one, two = prepare(known, training, settings, ACTIONS), prepare(other, training, settings, ACTIONS)
    assert one.keep.tolist() == two.keep.tolist()
    assert one.keep[held].all(), "what is asked of the model does not depend on what it learns from"
    steps = [[s for s in p.report.steps if "shared" not in s.name] for p in (one, two)]
    assert steps[0] == steps[1] and one.report.kept == two.report.kept
    scales = [rating_scale(k, training) for k in (known, other)]
    assert np.array_equal(scales[0].means, scales[1].means)
    assert np.array_equal(scales[0].deviations, scales[1].deviations)


def test_every_step_is_counted() -> None:
    known = table(
        [(0, 0, 0, 5), (0, 0, 9, 4), (0, 1, 9, float("nan")), (0, 2, 10, 9), (1, 0, 11, 5), (2, 0, 12, 5),
         (2, 1, 12, 5)]
    )  # fmt: skip
    training = np.array([True] * 5 + [False] * 2)
    found = prepare(known, training, PreparationSettings(min_user_events=2), ACTIONS)
    counts = {step.name.split(":")[0]: step.rows for step in found.report.steps}
    assert counts == {
        "value missing": 1,
        "value outside the action's range": 1,
        "item taken again by its user": 1,
        "user and moment shared with another": 2,
        "fewer than 2 events of the user or 0 of the item": 1,
    }
    assert found.keep.tolist() == [True, True, True, False, False, True, True]
    assert (found.report.rows, found.report.kept) == (5, 3)
    assert (found.report.held_out, found.report.held_out_tied) == (2, 2)
    assert found.report.as_dict()["kept"] == 3


def test_nothing_is_left_out_unless_it_is_asked_for() -> None:
    known = table([(0, 0, 0, 5), (1, 1, 0, 1)])
    assert prepare(known, everything(known), PreparationSettings()).keep.all()


def test_users_faster_than_people_are_left_out_on_request() -> None:
    day = DAY_MS // 1000
    slow = [(0, n, n * day // 2, 5.0) for n in range(6)]
    fast = [(1, n, 10 * day + n, 5.0) for n in range(4)]
    known = table(slow + fast)
    settings = PreparationSettings(most_events_a_day=3)
    assert prepare(known, everything(known), settings).keep.tolist() == [True] * 6 + [False] * 4
    untimed = replace(known, timed=False)
    assert prepare(untimed, everything(untimed), settings).keep.all(), "made-up times have no rate"


def test_tied_events_are_those_that_share_user_and_moment() -> None:
    known = table([(0, 0, 0, 5), (0, 1, 0, 5), (1, 0, 0, 5), (0, 2, 1, 5)])
    assert tied(known).tolist() == [True, True, False, False]


def test_ratings_are_seen_on_each_users_own_scale() -> None:
    harsh = [(0, n % 10, n, 1.0 + n % 2) for n in range(40)]
    kind = [(1, n % 10, n, 4.0 + n % 2) for n in range(40)]
    known = table(harsh + kind)
    scale = rating_scale(known, everything(known), shrinkage=1.0)
    normalised = scale.normalised(known.users, known.values)
    assert abs(normalised[:40].mean() - normalised[40:].mean()) < 0.15
    assert np.allclose(scale.restored(known.users, normalised), known.values, atol=1e-5)
    assert scale.means[5] == pytest.approx(3.0), "who has not rated is taken for everyone"
    drawn = rating_scale(known, everything(known), shrinkage=1000.0)
    assert np.all(np.abs(drawn.means - 3.0) < np.abs(scale.means - 3.0) + 1e-6)


def test_ratings_of_other_actions_and_missing_ones_do_not_count() -> None:
    known = table([(0, 0, 0, 5), (0, 1, 1, 100), (0, 2, 2, float("nan")), (1, 0, 3, 3)], [0, 1, 0, 0])
    scale = rating_scale(known, everything(known), action=0)
    assert scale.mean == 4.0 and np.isnan(scale.normalised(known.users, known.values)[2])
    nothing = rating_scale(known, np.zeros(4, np.bool_))
    assert nothing.normalised(known.users, known.values)[0] == 5
