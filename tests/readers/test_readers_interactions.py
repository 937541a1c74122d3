"""Interaction files in the forms that users have: bad rows, units, encodings, column names."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readers.errors import UnreadableFile
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.report import Report
from readers.tables.text import Layout

T0 = 1_700_000_000


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path, options: InteractionOptions | None = None) -> tuple[Interactions, Report]:
    rows, (report,) = read_interactions([path], options or InteractionOptions())
    return rows, report


def test_every_kind_of_bad_row_is_left_out_and_counted_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "events.csv",
        "user_id,item_id,rating,timestamp\n"
        f"ann,A,4,{T0}\n"
        f",A,4,{T0}\n"
        f"ann,,4,{T0}\n"
        "ann,B,4,\n"
        "ann,C,4,-1\n"
        f"ann,D,9,{T0}\n"
        f"ann,E,,{T0}\n"
        f"ann,A,4,{T0}\n"
        f"ann,A,2,{T0 + 60}\n",
    )
    rows, report = read(path, InteractionOptions(value_range=(1, 5)))
    assert [(u, i, v) for u, i, v in zip(rows.user_ids, rows.item_ids, rows.values, strict=True)] == [
        ("ann", "A", 4.0),
        ("ann", "A", 2.0),  # a later rating of the same item is another event
    ]
    lines = {kind: finding.lines for kind, finding in report.findings.items()}
    assert lines == {
        "user missing": [3],
        "item missing": [4],
        "time missing or not a time": [5],
        "time impossible (before 1970 or after 2100)": [6],
        "value outside 1 to 5": [7],
        "value missing or not a number": [8],
        "duplicate": [9],
    }
    assert (report.rows, report.kept) == (9, 2)


@pytest.mark.parametrize("factor", [1, 1000, 1_000_000, 1_000_000_000])
def test_the_unit_of_time_is_inferred_and_noted(tmp_path: Path, factor: int) -> None:
    path = write(tmp_path, "e.tsv", f"user\titem\ttime\nann\tA\t{T0 * factor}\n")
    rows, report = read(path)
    assert rows.time_ms.tolist() == [T0 * 1000]
    assert any("since 1970" in note for note in report.notes)


def test_iso_times_are_read_as_utc(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", "user,item,time\na,A,2014-04-07T10:51:09.277Z\na,B,2014-04-07 10:51:09\n")
    rows, _ = read(path)
    assert rows.time_ms.tolist() == [1396867869000, 1396867869277]


def test_ids_keep_leading_zeros_and_any_unicode(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", f"user,item,time\n007,é,{T0}\n7,e\u0301,{T0}\n🙂,0,{T0}\n")
    rows, _ = read(path)
    assert set(zip(rows.user_ids, rows.item_ids, strict=True)) == {
        ("007", "é"),
        ("7", "e\u0301"),
        ("🙂", "0"),
    }


def test_movielens_1m_is_read_by_its_separator_and_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "ratings.dat", f"1::10::5::{T0}\r\n1::11::3.5::{T0 + 1}\r\n")
    options = InteractionOptions(layout=Layout(columns=("user_id", "item_id", "rating", "timestamp")))
    rows, _ = read(path, options)
    assert rows.item_ids == ["10", "11"] and rows.values.tolist() == [5, 3.5]


def test_a_wrong_encoding_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", f"user,item,time\nann,A,{T0}\nbob,Ámame,{T0}\n", "latin-1")
    with pytest.raises(UnreadableFile, match="line 3.*--encoding latin-1"):
        read(path)
    rows, _ = read(path, InteractionOptions(layout=Layout(encoding="latin-1")))
    assert "Ámame" in rows.item_ids


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    table = {"user_id": ["a", "b"], "item_id": ["x", "y"], "rating": [4.0, 2.5], "timestamp": [T0, T0 + 1]}
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    records = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    write(tmp_path, "e.jsonl", "\n".join(json.dumps(r) for r in records))
    write(tmp_path, "e.csv", "user_id,item_id,rating,timestamp\n" + f"a,x,4.0,{T0}\nb,y,2.5,{T0 + 1}\n")
    found = [read(tmp_path / f"e.{s}")[0] for s in ("parquet", "jsonl", "csv")]
    assert all(r.user_ids == ["a", "b"] and r.values.tolist() == [4, 2.5] for r in found)
    assert found[0].event_ids == found[1].event_ids == found[2].event_ids


@given(st.permutations(range(12)))
def test_the_order_of_a_file_does_not_matter(order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"u{n % 3},i{n},{T0 + n // 4}" for n in range(12)]
        path = write(Path(folder), "e.csv", "\n".join(["user,item,time", *(lines[n] for n in order)]))
        rows, _ = read(path)
        straight = write(Path(folder), "s.csv", "\n".join(["user,item,time", *lines]))
        expected, _ = read(straight)
    assert rows.item_ids == expected.item_ids and rows.event_ids == expected.event_ids
    assert np.array_equal(rows.time_ms, expected.time_ms)


def test_a_file_without_the_needed_columns_says_which_and_how_to_name_them(tmp_path: Path) -> None:
    path = write(tmp_path, "e.csv", "who,item,time\na,A,1\n")
    with pytest.raises(UnreadableFile, match="user among who, item, time.*--column user=NAME"):
        read(path)
    rows, _ = read(
        write(tmp_path, "f.csv", f"who,item,time\na,A,{T0}\n"), InteractionOptions(columns={"user": "who"})
    )
    assert rows.user_ids == ["a"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="there is no such file"):
        read(tmp_path / "none.csv")
