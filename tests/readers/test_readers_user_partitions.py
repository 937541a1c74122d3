"""Parquet files that are partitioned by user give the same rows as files that are read at once."""

from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import readers.parquet.batches
import readers.parquet.user_partitions
from readers.errors import UnreadableFile
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.parquet.user_partitions import parquet_rows, partition_by_user

T0 = 1_600_000_000


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes several batches, and several row groups in a file."""
    monkeypatch.setattr(readers.parquet.batches, "_ROWS", 64)
    monkeypatch.setattr(readers.parquet.user_partitions, "_BUFFER", 150)


def write(path: Path, rows: int, seed: int = 0, **more: list[object]) -> Path:
    rng = np.random.default_rng(seed)
    columns = {
        "user_id": [f"user {u}" for u in rng.integers(0, 40, rows)],
        "item_id": rng.integers(0, 30, rows),
        "timestamp": T0 + rng.integers(0, 50, rows),
        **more,
    }
    pq.write_table(pa.table(columns), path)
    return path


def facts(rows: Interactions) -> list[tuple[str, ...]]:
    columns = rows.user_ids, rows.item_ids, rows.actions, rows.time_ms, rows.values
    return sorted(tuple(map(str, row)) for row in zip(*columns, strict=True))


def partitioned(
    paths: list[Path], folder: Path, options: InteractionOptions, rows: int = 100
) -> list[Interactions]:
    return list(partition_by_user(paths, folder, options, rows).tables(options))


def test_each_user_is_in_one_partition_and_each_row_is_kept_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ratings = rng.integers(1, 6, 500).astype(float).tolist()
    more = {"rating": ratings, "action": ["rate", "", None, "view", "cart"] * 100}
    paths = [write(tmp_path / "a.parquet", 500, **more), write(tmp_path / "b.parquet", 300, seed=2)]
    options = InteractionOptions()
    tables = partitioned(paths, tmp_path / "partitions", options)
    users = [set(table.user_ids) for table in tables]
    assert len(tables) > 4 and sum(map(len, users)) == len(set().union(*users)) == 40
    assert sorted(chain.from_iterable(map(facts, tables))) == facts(read_interactions(paths, options)[0])
    for table in tables:
        assert (np.diff(table.time_ms) >= 0).all()
    assert not list((tmp_path / "partitions").iterdir()), "a file is removed once it is read"


def test_bad_rows_are_left_out_and_counted_as_in_a_plain_read(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    columns = {
        "visitor": ["ann", None, "bob", "bob", "ann", "bob", " "],
        "item_id": [1.0, 1.0, 2.0, 2.0, None, 3.0, 4.0],
        "timestamp": [T0, T0, T0, T0, T0, -1, T0],
        "rating": [4.0, 4.0, 5.0, 5.0, 3.0, 2.0, 1.0],
    }
    pq.write_table(pa.table(columns), path)
    options = InteractionOptions(columns={"user": "visitor"})
    found = partition_by_user([path], tmp_path / "partitions", options, 2)
    tables = list(found.tables(options))
    whole, (report,) = read_interactions([path], options, "events")
    assert sorted(chain.from_iterable(map(facts, tables))) == facts(whole)
    assert [fact[1:3] for fact in facts(whole)] == [("1", "rate"), ("2", "rate")]
    assert (found.report.rows, found.report.kept) == (report.rows, report.kept) == (7, 2)
    counts = {kind: finding.rows for kind, finding in found.report.findings.items()}
    assert counts == {kind: finding.rows for kind, finding in report.findings.items()}


def test_an_event_in_two_files_is_kept_once(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.parquet", 120, event_id=[str(n) for n in range(120)]) for name in "ab"]
    tables = partitioned(paths, tmp_path / "partitions", InteractionOptions(), rows=50)
    assert sum(map(len, tables)) == 120
    assert sorted(event for table in tables for event in table.event_ids) == sorted(map(str, range(120)))


def test_rows_are_counted_by_footers_of_parquet_event_files_only(tmp_path: Path) -> None:
    path = write(tmp_path / "events.parquet", 70)
    (tmp_path / "events.csv").write_text(f"user,item,time\na,b,{T0}\n")
    assert parquet_rows([path, path]) == 140
    assert parquet_rows([path, tmp_path / "events.csv"]) is None and parquet_rows([]) is None
    with pytest.raises(UnreadableFile, match="expected only Parquet"):
        partition_by_user([tmp_path / "events.csv"], tmp_path / "partitions", InteractionOptions(), 10)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table({"who": ["a"], "item_id": ["b"], "timestamp": [T0]}), path)
    with pytest.raises(UnreadableFile, match="user among who, item_id, timestamp.*--column user=NAME"):
        partition_by_user([path], tmp_path / "partitions", InteractionOptions(), 10)
