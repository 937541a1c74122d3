"""Orders events by time. Events with equal timestamps are ordered by a seeded hash, or as in the file."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.report import Report
from readers.tables.columns import Column, joined

Hashes = NDArray[np.uint64]


def merged(tables: Sequence[Interactions]) -> Interactions:
    """The rows of all tables, one table after the other. The result is `timed` only if all tables are."""
    if len(tables) == 1:
        return tables[0]
    given = None
    if any(table.given_ids is not None for table in tables):
        given = pa.concat_arrays(
            [t.given_ids if t.given_ids is not None else pa.nulls(len(t), pa.string()) for t in tables]
        )
    return Interactions(
        joined([t.user_ids for t in tables]),
        joined([t.item_ids for t in tables]),
        joined([t.actions for t in tables]),
        np.concatenate([t.time_ms for t in tables]),
        np.concatenate([t.values for t in tables]),
        np.arange(sum(map(len, tables)), dtype=np.int32),
        given,
        timed=all(t.timed for t in tables),
    )


def ordered(rows: Interactions, options: InteractionOptions, report: Report) -> Interactions:
    """The rows in ascending time. The report notes how many events share user and timestamp with another."""
    if options.ties == "file":
        order = np.argsort(rows.time_ms, kind="stable")
        how = "as in the file"
    else:
        order = np.lexsort((row_hashes(rows, options.tie_seed), rows.time_ms))
        how = f"by a hash with seed {options.tie_seed}"
    if tied := _tied(rows):
        report.notes.append(f"{tied:,} events share user and timestamp with another: ordered {how}")
    return replace(rows.take(order), ties=np.arange(len(rows), dtype=np.int32))


def repeats(rows: Interactions) -> NDArray[np.bool_]:
    """bool [n]: whether an earlier row is the same event. Rows are compared by event id, or else by all columns."""
    hashes = _mix(row_hashes(rows, 0) ^ rows.time_ms.view(np.uint64))
    columns: list[NDArray[Any]] = [
        rows.users,
        rows.items,
        rows.actions.codes,
        rows.time_ms,
        _bits(rows.values),
    ]
    if rows.given_ids is not None:
        coded: Any = rows.given_ids.dictionary_encode()
        ids: NDArray[np.int32] = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        hashes = np.where(ids >= 0, _mix(ids.astype(np.uint64) + np.uint64(1)), hashes)
        columns = [ids, *(np.where(ids >= 0, 0, column) for column in columns)]
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    rows_of, before = order[1:][same], order[:-1][same]
    if len(rows_of):
        # Hashes may collide, so the columns decide.
        equal = np.all([column[rows_of] == column[before] for column in columns], axis=0)
        rows_of = rows_of[equal]
    found = np.zeros(len(rows), np.bool_)
    found[rows_of] = True
    return found


def row_hashes(rows: Interactions, seed: int) -> Hashes:
    """uint64 [n], a hash of user, item, action and value.

    It depends on the row alone: neither the order of a file nor its other rows change it.
    """
    found = _mix(_bits(rows.values).view(np.uint64))
    for position, column in enumerate((rows.actions, rows.item_ids, rows.user_ids)):
        found = _mix(found ^ _name_hashes(column, seed, position)[column.codes])
    return found


def _tied(rows: Interactions) -> int:
    keys = _mix(_mix(rows.users.astype(np.uint64)) ^ rows.time_ms.view(np.uint64))
    keys.sort()
    same = keys[1:] == keys[:-1]
    return int((np.append(same, False) | np.append(False, same)).sum())


def _name_hashes(column: Column, seed: int, position: int) -> Hashes:
    salt = f"{seed}.{position}".encode()
    digests = (hashlib.blake2b(_utf8(name), digest_size=8, key=salt).digest() for name in column.names)
    return np.frombuffer(b"".join([*digests, bytes(8)]), np.uint64)


def _utf8(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """int64 [n], equal for equal numbers; all NaN are equal."""
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.int64)


def _mix(keys: Hashes) -> Hashes:
    """The finalizer of splitmix64 (Steele, Lea and Flood, 2014): each bit of a key flips half of the bits."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
