"""Joins data sets of several domains. Each gets an id namespace of its own, and timestamps are aligned."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from readers.interactions.interactions import Interactions
from readers.interactions.order import merged
from readers.tables.columns import Column
from recstream.v1 import item_pb2


def namespaced(rows: Interactions, domain: str) -> Interactions:
    """The rows with `domain:` before user and item ids, so that two data sets share none."""
    return replace(
        rows,
        user_ids=_prefixed(rows.user_ids, domain),
        item_ids=_prefixed(rows.item_ids, domain),
        given_ids=None,
    )


def namespaced_items(items: Sequence[item_pb2.Item], domain: str) -> list[item_pb2.Item]:
    """Copies of items with `domain:` before their ids, in that domain."""
    found = []
    for item in items:
        copy = item_pb2.Item()
        copy.CopyFrom(item)
        copy.item_id, copy.domain = f"{domain}:{item.item_id}", domain
        found.append(copy)
    return found


def shifted_to(rows: Interactions, share: float, time_ms: int) -> Interactions:
    """Shifts all rows, so that the row after the first `share` of them is at `time_ms`.

    Data sets of different years can then be split at one timestamp, each at the same share of its events.
    """
    return rows.shifted(time_ms - cut_time_ms(rows, share)) if len(rows) else rows


def cut_time_ms(rows: Interactions, share: float) -> int:
    """The timestamp of the row after the first `share` of the rows, Unix milliseconds."""
    return int(rows.time_ms[min(int(len(rows) * share), len(rows) - 1)])


def joined(tables: Sequence[Interactions]) -> Interactions:
    """The rows of all tables in ascending time. Rows with equal timestamps keep the order of the tables."""
    found = merged(tables)
    order = np.argsort(found.time_ms, kind="stable")
    return replace(found.take(order), ties=np.arange(len(found), dtype=np.int32))


def _prefixed(column: Column, domain: str) -> Column:
    return Column([f"{domain}:{name}" for name in column.names], column.codes)
