"""Parquet files of events, however large, as many small tables of whole users.

First all rows are dealt out by a hash of their user into files on disk, then each of these is read, checked and
ordered as any file is: what has to fit in memory is one table, and a buffer of rows on the way there. Since a user's
rows are in one table, duplicates are found as if all had been read at once.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from readers.errors import UnreadableFile
from readers.interactions.detect_format import detect_format
from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.parquet.batches import SCHEMA, batches, columns_of
from readers.report import Report
from readers.tables.columns import Cells, encode
from readers.tables.content import suffix

# Rows that wait to be dealt out: each file gets them in groups of this number divided by the files.
_BUFFER: Final = 1 << 21
# Each is a file that stays open, of which a process may often have a thousand.
_MOST_SHARDS: Final = 256


def parquet_rows(paths: Sequence[Path]) -> int | None:
    """Rows of all files by their footers; None where one is no Parquet file of events. Raises UnreadableFile."""
    if not paths or not all(
        suffix(p) == ".parquet" and p.is_file() and detect_format(p) == "events" for p in paths
    ):
        return None
    return sum(pa.parquet.read_metadata(path).num_rows for path in paths)


@dataclass(frozen=True, slots=True)
class UserPartitions:
    """The files that rows were dealt out to, those of the same users together, and the report of all rows, which counts
    as tables are read."""

    report: Report
    files: Sequence[Sequence[Path]]

    def tables(self, options: InteractionOptions) -> Iterator[Interactions]:
        """The rows of users that are together, checked and ordered; their files are removed then. options: as they were
        dealt out by.

        Raises UnreadableFile.
        """
        options = replace(options, time_unit="milliseconds", columns={name: name for name in SCHEMA.names})
        for paths in self.files:
            rows, reports = read_interactions(paths, options, "events")
            self.report.kept += len(rows)
            for report in reports:
                for kind, found in report.findings.items():
                    self.report.add(kind, found.done, range(found.rows))
                    # Lines of a file of ours tell nobody anything.
                    self.report.findings[kind].lines.clear()
            for path in paths:
                path.unlink()
            yield rows


def partition_by_user(
    paths: Sequence[Path],
    folder: Path,
    options: InteractionOptions,
    shard_rows: int,
    advance: Callable[[int], None] = lambda rows: None,
) -> UserPartitions:
    """Deals the rows of Parquet files of events out to files in the folder, about `shard_rows` to each, but to no more
    than 256 files. `advance` is told how many rows were read. Files with the same columns are looked at as one: what an
    action without a value means is decided for them together.

    Raises UnreadableFile.
    """
    total = parquet_rows(paths)
    if total is None:
        raise UnreadableFile(f"{', '.join(map(str, paths))}: not only Parquet files with an event a row")
    report = Report(", ".join(map(str, paths)), total, format="events")
    count = min(_MOST_SHARDS, max(1, -(-total // shard_rows)))
    report.notes.append(f"read in {count} parts of whole users, never all rows at once")
    folder.mkdir(parents=True, exist_ok=True)
    alike: dict[tuple[str, ...], list[Path]] = {}
    for path in paths:
        alike.setdefault(tuple(columns_of(path, options)), []).append(path)
    files: dict[int, list[Path]] = {}
    for group, members in enumerate(alike.values()):
        writers = _PartitionWriters(
            [folder / f"dealt-{group}-{position:03}.parquet" for position in range(count)]
        )
        try:
            for path in members:
                for table in batches(path, options, report):
                    writers.add(table)
                    advance(len(table))
            writers.finish()
        finally:
            writers.close()
        for position, file in writers.written():
            files.setdefault(position, []).append(file)
    return UserPartitions(report, [files[position] for position in sorted(files)])


class _PartitionWriters:
    """Files that grow by turns; rows wait until there are enough for all."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._writers: dict[int, pa.parquet.ParquetWriter] = {}
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= _BUFFER:
            self.finish()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def written(self) -> list[tuple[int, Path]]:
        """The files that have rows, by number."""
        return [(position, self._paths[position]) for position in sorted(self._writers)]

    def finish(self) -> None:
        """What waits is written."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).unify_dictionaries()
        self._waiting = []
        positions = _positions(table.column("user"), len(self._paths))
        order = np.argsort(positions, kind="stable")
        ends = np.searchsorted(positions[order], np.arange(len(self._paths) + 1))
        for shard, (start, end) in enumerate(pairwise(ends)):
            if start < end:
                if shard not in self._writers:
                    self._writers[shard] = pa.parquet.ParquetWriter(
                        self._paths[shard], SCHEMA, compression="zstd"
                    )
                self._writers[shard].write_table(table.take(order[start:end]))


def _positions(users: Cells, count: int) -> NDArray[np.int64]:
    """The file of each row: by a hash of the user's id alone, wherever it stands."""
    column = encode(users)
    digests = (
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name in column.names
    )
    # -1, nobody, is the last.
    hashes = np.frombuffer(b"".join([*digests, bytes(8)]), np.uint64)
    return (hashes % np.uint64(count)).astype(np.int64)[column.codes]
