"""Events with equal timestamps are ordered by a seeded hash or as in the file, and the report says so."""

import random
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.order import merged, repeats, row_hashes
from readers.interactions.reading import read_interactions

T0 = 1_700_000_000


def sorted_by_item(folder: Path) -> Path:
    path = folder / "sorted.csv"
    lines = [f"ann,{n:03},{T0}" for n in range(40)] + [f"bob,{n:03},{T0 + 1}" for n in range(40)]
    path.write_text("\n".join(["user,item,time", *lines, f"cid,007,{T0 + 2}"]))
    return path


def test_a_file_sorted_by_item_does_not_leak_the_next_item(tmp_path: Path) -> None:
    rows, (report,) = read_interactions([sorted_by_item(tmp_path)])
    anns = list(rows.item_ids)[:40]
    assert anns != sorted(anns) and anns != list(rows.item_ids)[40:80], "each user has an order of its own"
    assert any("80 events share user and timestamp with another" in note for note in report.notes)


def test_the_seed_changes_the_order_and_the_order_of_the_file_is_an_option(tmp_path: Path) -> None:
    path = sorted_by_item(tmp_path)
    orders = [list(read_interactions([path], InteractionOptions(tie_seed=s))[0].item_ids) for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    rows, (report,) = read_interactions([path], InteractionOptions(ties="file"))
    assert list(rows.item_ids)[:40] == [f"{n:03}" for n in range(40)]
    assert any("ordered as in the file" in note for note in report.notes)


def test_several_files_read_like_one(tmp_path: Path) -> None:
    path = sorted_by_item(tmp_path)
    head, *lines = path.read_text().split("\n")
    random.Random(0).shuffle(lines)
    halves = [tmp_path / "a.csv", tmp_path / "b.csv"]
    halves[0].write_text("\n".join([head, *lines[:30]]))
    halves[1].write_text("\n".join([head, *lines[20:]]))  # ten lines are in both
    rows, reports = read_interactions(halves)
    whole, _ = read_interactions([path])
    assert rows.item_ids == whole.item_ids and rows.user_ids == whole.user_ids
    assert rows.event_ids == whole.event_ids
    assert any("10 events were in an earlier file too" in note for note in reports[-1].notes)


ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from("xy"),
        st.integers(0, 2),
        st.sampled_from([1.0, float("nan"), 0.0]),
    )
)


@given(ROWS)
def test_repeats_are_rows_that_equal_an_earlier_one(rows: list[tuple[str, str, int, float]]) -> None:
    table = Interactions.of(
        [r[0] for r in rows],
        [r[1] for r in rows],
        ["rate"] * len(rows),
        np.array([r[2] for r in rows], np.int64),
        np.array([r[3] for r in rows], np.float64),
    )
    spelled = [repr(row) for row in rows]
    assert repeats(table).tolist() == [row in spelled[:position] for position, row in enumerate(spelled)]


def test_event_ids_of_the_file_decide_what_is_a_repeat(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(f"event_id,user,item,time\n1,a,A,{T0}\n1,a,B,{T0}\n2,a,A,{T0}\n,a,A,{T0}\n,a,A,{T0}\n")
    rows, (report,) = read_interactions([path])
    assert report.findings["duplicate"].lines == [3, 6]
    assert {"1", "2"} < set(rows.event_ids) and len(set(rows.event_ids)) == 3


def test_the_hash_of_a_row_does_not_depend_on_other_rows() -> None:
    one = Interactions.of(["a", "b"], ["x", "y"], ["v", "v"], np.zeros(2, np.int64))
    other = Interactions.of(["c", "b", "a"], ["y", "y", "x"], ["w", "v", "v"], np.zeros(3, np.int64))
    assert row_hashes(one, 3).tolist() == row_hashes(other, 3)[[2, 1]].tolist()
    assert len(set(row_hashes(merged([one, other]), 3).tolist())) == 3


def test_shifted_events_keep_their_ids() -> None:
    rows = Interactions.of(["a"], ["x"], ["v"], np.array([10**12], np.int64))
    assert rows.shifted(5).event_ids == rows.event_ids and rows.shifted(5).time_ms.tolist() == [10**12 + 5]
