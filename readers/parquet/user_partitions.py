"""Parquet files of events of any size, partitioned by user.

The rows are first written to files by a hash of their user. Each of these files is then read, checked and ordered as
any other. One of them, and a buffer of rows, has to fit in memory. All rows of a user are in one file, so duplicates
are found as if everything had been read at once.
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

# Rows in the buffer. One write to a file has about this number divided by the number of files.
_BUFFER: Final = 1 << 21
# Each partition is an open file. Processes are often limited to about a thousand.
_MOST_SHARDS: Final = 256


def parquet_rows(paths: Sequence[Path]) -> int | None:
    """Number of rows in all files, from their footers; None if one is not a Parquet file of events.

    Raises UnreadableFile.
    """
    if not paths or not all(
        suffix(p) == ".parquet" and p.is_file() and detect_format(p) == "events" for p in paths
    ):
        return None
    return sum(pa.parquet.read_metadata(path).num_rows for path in paths)


@dataclass(frozen=True, slots=True)
class UserPartitions:
    """Files of rows, partitioned by user.

    Attributes:
        report: The report of all rows. Its counts grow while tables are read.
        files: For each partition, the files that hold its users.
    """

    report: Report
    files: Sequence[Sequence[Path]]

    def tables(self, options: InteractionOptions) -> Iterator[Interactions]:
        """Yields the rows of each partition, checked and ordered, and removes its files.

        Args:
            options: The options that the files were partitioned with.

        Raises:
            UnreadableFile: A file as a whole cannot be used.
        """
        options = replace(options, time_unit="milliseconds", columns={name: name for name in SCHEMA.names})
        for paths in self.files:
            rows, reports = read_interactions(paths, options, "events")
            self.report.kept += len(rows)
            for report in reports:
                for kind, found in report.findings.items():
                    self.report.add(kind, found.done, range(found.rows))
                    # Line numbers of a temporary file mean nothing to the user.
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
    """Writes the rows of Parquet files of events to files by user.

    Files with the same columns are read as one. Together they decide whether an action may lack a value.

    Args:
        paths: Parquet files with one event per row.
        folder: Gets the files.
        options: What the files do not say about themselves.
        shard_rows: Approximate number of rows in each partition. There are at most 256 partitions.
        advance: Called with the number of rows read since the last call.

    Raises:
        UnreadableFile: A file is not a Parquet file of events.
    """
    total = parquet_rows(paths)
    if total is None:
        raise UnreadableFile(
            f"{', '.join(map(str, paths))}: expected only Parquet files with one event per row"
        )
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
            [folder / f"partition-{group}-{position:03}.parquet" for position in range(count)]
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
    """Writers of the partitions. Rows are buffered until there are enough for all."""

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
        """Files that have rows, by partition."""
        return [(position, self._paths[position]) for position in sorted(self._writers)]

    def finish(self) -> None:
        """Writes the buffer."""
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
    """int64 [n]: the partition of each row, by a hash of the user id."""
    column = encode(users)
    digests = (
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for name in column.names
    )
    # A missing user has code -1, which takes the last hash.
    hashes = np.frombuffer(b"".join([*digests, bytes(8)]), np.uint64)
    return (hashes % np.uint64(count)).astype(np.int64)[column.codes]
