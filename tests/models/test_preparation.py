"""What is left out of the training, by counts of training rows only."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data.events import Events
from models.data.preparation import DAY_MS, PreparationSettings, k_core, prepare, time_ties
from profiles.actions import Action, Actions

ACTIONS = Actions({"rate": Action(positive_from=4.0, value_range=(1, 5)), "view": Action(repeats=True)})
Mask = NDArray[np.bool_]


def table(rows: list[tuple[int, int, int, float]], actions: list[int] | None = None) -> Events:
    """Events from rows of user, item, second and value."""
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
    left = known.take(np.flatnonzero(k_core(known, everything(known), user, item)))
    for column, least in ((left.users, user), (left.items, item)):
        assert all(count >= least for count in np.unique(column, return_counts=True)[1])


def test_a_core_is_the_largest_one() -> None:
    known = table([(0, 0, 0, 5), (0, 1, 1, 5), (1, 0, 2, 5), (1, 1, 3, 5), (2, 0, 4, 5), (2, 3, 5, 5)])
    assert k_core(known, everything(known), 2, 2).tolist() == [True] * 4 + [False] * 2


@given(EVENTS, st.integers(0, 60))
def test_held_out_rows_do_not_change_the_preparation(known: Events, cut: int) -> None:
    """The same training rows stay, whatever is in the held-out rows."""
    training = np.arange(len(known)) < cut
    held = ~training
    other = replace(
        known,
        users=np.where(held, 9, known.users),
        items=np.where(held, 9, known.items),
        values=np.where(held, 2, known.values).astype(np.float32),
        time_ms=np.where(held, known.time_ms + 7000, known.time_ms),
    )
    settings = PreparationSettings(min_user_events=2, min_item_events=2, max_events_per_day=5)
    one, two = prepare(known, training, settings, ACTIONS), prepare(other, training, settings, ACTIONS)
    assert one.keep.tolist() == two.keep.tolist()
    assert one.keep[held].all(), "held-out rows stay"
    steps = [[s for s in p.report.steps if "same user" not in s.name] for p in (one, two)]
    assert steps[0] == steps[1] and one.report.kept == two.report.kept


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
        "item repeated by its user": 1,
        "same user and time as another event": 2,
        "fewer than 2 events of the user or 0 of the item": 1,
    }
    assert found.keep.tolist() == [True, True, True, False, False, True, True]
    assert (found.report.rows, found.report.kept) == (5, 3)
    assert (found.report.held_out, found.report.held_out_tied) == (2, 2)
    assert found.report.as_dict()["kept"] == 3


def test_nothing_is_left_out_by_default() -> None:
    known = table([(0, 0, 0, 5), (1, 1, 0, 1)])
    assert prepare(known, everything(known), PreparationSettings()).keep.all()


def test_users_past_the_daily_limit_are_left_out() -> None:
    day = DAY_MS // 1000
    slow = [(0, n, n * day // 2, 5.0) for n in range(6)]
    fast = [(1, n, 10 * day + n, 5.0) for n in range(4)]
    known = table(slow + fast)
    settings = PreparationSettings(max_events_per_day=3)
    assert prepare(known, everything(known), settings).keep.tolist() == [True] * 6 + [False] * 4
    untimed = replace(known, timed=False)
    assert prepare(untimed, everything(untimed), settings).keep.all(), "synthetic times have no rate"


def test_tied_events_are_those_that_share_user_and_time() -> None:
    known = table([(0, 0, 0, 5), (0, 1, 0, 5), (1, 0, 0, 5), (0, 2, 1, 5)])
    assert time_ties(known).tolist() == [True, True, False, False]
