"""Dictionary-encoded tables and tables of strings become the same events."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data.events import ItemText, index_events
from models.errors import NothingToLearn
from profiles.actions import Action, Actions
from readers.interactions.interactions import Interactions

ACTIONS = Actions(
    {"rate": Action(positive_from=4.0), "dislike": Action(positive=False), "view": Action(repeats=True)}
)


@dataclass(frozen=True)
class Strings:
    """A table with neither codes nor ties."""

    user_ids: list[str]
    item_ids: list[str]
    actions: list[str]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]


ROWS = st.lists(
    st.tuples(
        st.text("aé\u03010", min_size=1, max_size=3),
        st.text("x07", min_size=1, max_size=3),
        st.sampled_from(["rate", "dislike", "view", "impression", "other"]),
        st.sampled_from([float("nan"), 1.0, 4.0, 4.5]),
    ),
    min_size=1,
    max_size=40,
)
Row = tuple[str, str, str, float]


def columns(
    rows: list[Row],
) -> tuple[list[str], list[str], list[str], NDArray[np.int64], NDArray[np.float64]]:
    times = np.arange(len(rows), dtype=np.int64) * 1000 + 10**12
    return (
        [r[0] for r in rows],
        [r[1] for r in rows],
        [r[2] for r in rows],
        times,
        np.array([r[3] for r in rows]),
    )


@given(ROWS)
def test_codes_and_strings_give_the_same_events(rows: list[Row]) -> None:
    coded, plain = Interactions.of(*columns(rows)), Strings(*columns(rows))
    items = [ItemText("x", "an x"), ItemText("never", "seen by nobody")]
    if not any(row[2] in ACTIONS for row in rows):
        with pytest.raises(NothingToLearn):
            index_events([coded], items, ACTIONS)
        return
    one, two = index_events([coded], items, ACTIONS), index_events([plain], items, ACTIONS)
    assert one.fingerprint() == two.fingerprint()
    assert np.array_equal(one.positive, two.positive) and np.array_equal(one.repeats, two.repeats)
    kept = [row for row in rows if row[2] in ACTIONS]
    assert [one.user_ids[u] for u in one.users] == [row[0] for row in kept]
    assert [one.item_ids[i] for i in one.items] == [row[1] for row in kept]
    value = [None if np.isnan(row[3]) else row[3] for row in kept]
    expected = [ACTIONS[row[2]].is_positive(v) for row, v in zip(kept, value, strict=True)]
    assert one.positive.tolist() == expected


def test_names_that_only_occur_in_held_out_rows_are_in_no_vocabulary() -> None:
    rows: list[Row] = [("a", "x", "rate", 5.0), ("b", "y", "rate", 5.0), ("c", "secret", "rate", 5.0)]
    training, rest = Interactions.of(*columns(rows)).split(0.7)
    learned = index_events([training], [], ACTIONS)
    assert learned.user_ids == ["a", "b"] and learned.item_ids == ["x", "y"]
    whole = index_events([training, rest], [], ACTIONS)
    assert whole.item_ids == ["secret", "x", "y"] and len(whole) == 3


def test_events_of_equal_time_keep_the_order_of_the_table() -> None:
    rows: list[Row] = [("a", f"{n:02}", "view", float("nan")) for n in range(30)]
    user, item, action, _, value = columns(rows)
    table = Interactions.of(user, item, action, np.full(30, 10**12, np.int64), value)
    shuffled = table.take(np.random.default_rng(0).permutation(30))
    assert index_events([shuffled], [], ACTIONS).items.tolist() == list(range(30))


def test_synthetic_times_are_marked() -> None:
    table = Interactions.of(["a"], ["x"], ["view"], np.array([10**12], np.int64))
    assert index_events([table], [], ACTIONS).timed
    untimed = Interactions(
        table.user_ids, table.item_ids, table.actions, table.time_ms, table.values, table.ties, timed=False
    )
    assert not index_events([table, untimed], [], ACTIONS).timed
    assert not index_events([untimed], [], ACTIONS).take(np.array([0])).timed
