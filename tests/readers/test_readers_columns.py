"""Columns hold codes instead of strings, and read as strings."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readers.errors import UnreadableFile
from readers.interactions.reading import read_interactions
from readers.items.item_files import read_items
from readers.tables.columns import Column, encode, joined, numbers

T0 = 1_700_000_000


@given(st.lists(st.text()), st.lists(st.text()))
def test_a_column_reads_as_the_strings_it_was_made_of(one: list[str], other: list[str]) -> None:
    column = Column.of(one)
    assert list(column) == one and column == one and len(column) == len(one)
    assert [column[position] for position in range(len(one))] == one
    assert len(set(column.names)) == len(column.names)
    both = joined([column, Column.of(other)])
    assert both == one + other and len(set(both.names)) == len(both.names)
    assert column.take(np.arange(len(one))[::-1]) == one[::-1]


def test_numeric_parquet_ids_become_digits(tmp_path: Path) -> None:
    table = {
        "user_id": pa.array([7, 7, 8], pa.int64()),
        "item_id": pa.array([7.0, 8.5, None], pa.float64()),  # a column with gaps, as pandas writes it
        "timestamp": pa.array([T0 * 1000] * 3, pa.timestamp("ms")),
    }
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    rows, (report,) = read_interactions([tmp_path / "e.parquet"])
    assert sorted(zip(rows.user_ids, rows.item_ids, strict=True)) == [("7", "7"), ("7", "8.5")]
    assert rows.time_ms.tolist() == [T0 * 1000] * 2
    assert report.findings["item missing"].rows == 1


def test_row_groups_share_one_vocabulary_and_unused_columns_are_not_read(tmp_path: Path) -> None:
    names = [f"user-{n % 30:02}" for n in range(100)]
    table = pa.table(
        {
            "user_id": names,
            "item_id": names[::-1],
            "timestamp": range(T0, T0 + 100),
            "text": ["x" * 1000] * 100,
        }
    )
    pq.write_table(table, tmp_path / "e.parquet", row_group_size=7)
    rows, _ = read_interactions([tmp_path / "e.parquet"])
    assert rows.user_ids == names and rows.item_ids == names[::-1]
    assert len(rows.user_ids.names) == 30


def test_numbers_are_read_from_any_type() -> None:
    texts = pa.chunked_array([["1.5", "", "x", "inf"], [None, "3", "1e3", "NaN"]])
    assert np.nan_to_num(numbers(texts), nan=-1).tolist() == [1.5, -1, -1, -1, -1, 3, 1000, -1]
    assert numbers(texts.dictionary_encode())[5] == 3
    assert np.isnan(numbers(pa.chunked_array([[None, 2]]))).tolist() == [True, False]
    assert encode(pa.chunked_array([pa.array([], pa.string())])) == []


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("e.csv", f"user,item,time\na,A,{T0}\n\nb,B\n", "line 4: 2 fields where 3 were expected"),
        ("e.csv", f'user,item,time\na,"A\nA",{T0}\nb,B,{T0},9\n', "line 4: 4 fields where 3 were expected"),
        ("e.dat", f"user::item::time\na::A::{T0}\nb::B::C::{T0}\n", "line 3: 4 fields where 3 were expected"),
        ("e.jsonl", '{"user": "a", "item": "b", "time": 1700000000}\n{"user": \n', "line 2: not JSON"),
        ("e.jsonl", "[1]\n", "line 1: expected one JSON object per line"),
        ("e.csv", "", "the file is empty"),
    ],
)
def test_the_error_names_the_line_that_cannot_be_read(
    tmp_path: Path, name: str, text: str, line: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UnreadableFile, match=line):
        read_interactions([tmp_path / name], None, "events")


def test_the_error_hints_at_a_wrong_separator(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(f"user;item;time\na;A,B;{T0}\n")
    with pytest.raises(UnreadableFile, match="line 2: 2 fields where 1 were expected.*--separator"):
        read_interactions([tmp_path / "e.csv"])


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    row = f'{{"user": "a\u2028b", "item": "c\u0085d", "time": {T0}}}\n'
    (tmp_path / "e.jsonl").write_text(row, encoding="utf-8")
    rows, _ = read_interactions([tmp_path / "e.jsonl"])
    assert (rows.user_ids[0], rows.item_ids[0]) == ("a\u2028b", "c\u0085d")


@pytest.mark.parametrize("odd", ["", "-1", "0", "-62104060800", "253402300800", "9223372036854775807", "x"])
def test_one_invalid_time_does_not_affect_other_rows(tmp_path: Path, odd: str) -> None:
    (tmp_path / "e.csv").write_text(f"user,item,time\na,A,{T0}\na,B,{odd}\na,C,{T0 + 1}\n")
    rows, (report,) = read_interactions([tmp_path / "e.csv"])
    assert list(rows.item_ids) == ["A", "C"]
    (finding,) = report.findings.values()
    assert finding.lines == [3]


@pytest.mark.parametrize("name", ["e.csv", "e.parquet", "e.jsonl", "e.dat", "e.txt", "e.csv.gz", "e.json"])
@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"PAR1", b"\x1f\x8b\x08", b"{", b"\n\n", b"a"]
)
def test_a_file_of_another_kind_raises_unreadable_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=re.escape(str(tmp_path))):
        read_interactions([tmp_path / name])
    with pytest.raises(UnreadableFile, match=re.escape(str(tmp_path))):
        read_items([tmp_path / name])
