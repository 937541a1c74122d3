"""Orders and their items: one table with a timestamp (Complete Journey), or Instacart's two tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from readers.errors import UnreadableFile
from readers.formats.events import column, optional
from readers.interactions.checks import RawInteractions
from readers.interactions.format_options import EPOCH_MS, ITEM, TIME, USER, InteractionOptions
from readers.report import Report
from readers.tables.columns import Column, encode, numbers
from readers.tables.table import Table, read_table
from readers.tables.timestamps import read_times

ORDER = ("basket_id", "order_id", "transaction_id", "invoice_id", "InvoiceNo", "invoice")
NUMBER, DAYS = "order_number", "days_since_prior_order"
DAY_MS = 86_400_000


def read(
    path: Path, options: InteractionOptions, report: Report, others: Sequence[Path]
) -> RawInteractions | None:
    """Reads one file. Returns None for a file of orders, which completes the file of items. Raises UnreadableFile."""
    table = _table(path, options)
    if table.find((NUMBER,)) and not table.find(options.names("item", ITEM)):
        report.notes.append("orders with their users; the items are in another file")
        return None
    orders = encode(column(table, options, "order", ORDER))
    items = encode(column(table, options, "item", ITEM))
    timed = table.find(options.names("time", TIME)) is not None
    if timed:
        times = read_times(column(table, options, "time", TIME), options.time_unit, report)
        found = optional(table, options, "user", USER)
        users = encode(found) if found is not None else orders
        if found is None:
            report.notes.append("no column for the user: each order counts as a user")
        times = _shared(orders, times, report)
    else:
        users, times = _of_orders(path, orders, options, others, report)
    actions = Column.constant(options.action or "purchase", table.rows)
    return RawInteractions(users, items, actions, times, lines=table.first_line, timed=timed)


def _table(path: Path, options: InteractionOptions) -> Table:
    usual = (*USER, *ITEM, *TIME, *ORDER, NUMBER, DAYS)
    return read_table(path, options.layout, (*usual, *options.columns.values()))


def _shared(orders: Column, times: NDArray[np.float64], report: Report) -> NDArray[np.float64]:
    """Gives all items of an order the first timestamp of the order."""
    first = np.full(len(orders.names) + 1, np.inf)
    known = ~np.isnan(times)
    np.minimum.at(first, orders.codes[known], times[known])
    shared = np.where(orders.codes >= 0, first[orders.codes], times)
    if moved := int((shared[known] < times[known]).sum()):
        report.notes.append(f"{moved:,} rows got the first timestamp of their order")
    return np.where(np.isinf(shared), np.nan, shared)


def _of_orders(
    path: Path, orders: Column, options: InteractionOptions, others: Sequence[Path], report: Report
) -> tuple[Column, NDArray[np.float64]]:
    """Joins user and timestamp of each row from the file of orders. Timestamps count from the user's first order."""
    tables = (_table(other, options) for other in others if other != path)
    table = next((table for table in tables if table.find((NUMBER,))), None)
    if table is None:
        raise UnreadableFile(
            f"{path}: orders without a time: name it with --column time=NAME, or give the file of orders too "
            f"(order_id, user_id, {NUMBER}, {DAYS})"
        )
    users = encode(column(table, options, "user", USER))
    number = numbers(table.column(table.find((NUMBER,)) or NUMBER))
    days_name = table.find((DAYS,))
    days = np.nan_to_num(numbers(table.column(days_name))) if days_name else np.ones(table.rows)
    rows = np.lexsort((number, users.codes))
    since = np.cumsum(days[rows])
    starts = np.flatnonzero(np.diff(users.codes[rows], prepend=-2))
    since -= np.repeat(since[starts], np.diff(starts, append=len(rows)))
    time_ms = np.empty(table.rows)
    # One second for each earlier order separates orders of one day.
    time_ms[rows] = EPOCH_MS + since * DAY_MS + number[rows] * 1000
    report.notes.append(
        "timestamps are days since the user's first order: the order within a user is right, the dates are not"
    )

    known = encode(column(table, options, "order", ORDER))
    position = dict(zip(known, range(table.rows), strict=True))
    row_of = np.array([*(position.get(name, -1) for name in orders.names), -1])[orders.codes]
    codes = np.where(row_of >= 0, users.codes[row_of], -1).astype(np.int32)
    return Column(users.names, codes), np.where(row_of >= 0, time_ms[row_of], np.nan)
