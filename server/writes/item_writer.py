"""Writes items to the log, and applies them to the catalogue in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cachetools import TTLCache

from catalog.catalog import Catalog, WrittenItem
from catalog.items.item_check import check
from catalog.items.items import Item, from_proto
from profiles.folding.events import Position
from recstream.v1 import item_pb2
from server.errors import InvalidRequest, Violation
from server.requests import validation
from server.requests.validation import MAX_ITEMS, Check
from server.writes.log_writer import Appending, LogWriter

_PENDING_ITEMS: Final = 10_000
_PENDING_SECONDS: Final = 10.0

_NOT_PENDING: Final = Item("")
"""Stands for an item without a pending change."""


@dataclass(frozen=True, slots=True)
class _Started:
    """A change that was passed to the producer. item: without contents; None: the item is removed."""

    item_id: str
    item: Item | None
    appending: Appending


class ItemWriter:
    """Puts, withdraws and deletes items.

    When Kafka has acknowledged a change, it is applied here before its record is read. So this process recommends no
    item that it was asked to withdraw or delete, and knows each item that was put through it.

    Until then a change is pending. A withdrawal at the same time as a put takes the pending item, so that it does not
    restore the old one. What is not acknowledged in time may still arrive, so it is pending for ten seconds at most.

    Args:
        catalog: The catalogue.
        writer: Writes to the log.
        topic: The topic of items.
    """

    def __init__(self, *, catalog: Catalog, writer: LogWriter, topic: str) -> None:
        self._catalog = catalog
        self._writer = writer
        self._topic = topic
        self._pending: TTLCache[str, Item | None] = TTLCache(_PENDING_ITEMS, _PENDING_SECONDS)
        self._writing = asyncio.Lock()

    async def put(self, items: Sequence[item_pb2.Item], until: float) -> list[Position]:
        """Add or replace items.

        Args:
            items: The items. All are checked before the first is written.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            The position of each item's record, in order.

        Raises:
            InvalidRequest: An item is not valid. The violations name the items and their fields.
            NotAvailable: Kafka does not answer.
        """
        checks = Check()
        if checks.length("items", items, MAX_ITEMS):
            for at, item in enumerate(items):
                for field, problem in check(item):
                    checks.no(f"items[{at}].{field}", problem)
        checks.done()
        async with self._writing:
            started = await self._start([(item.item_id, from_proto(item)) for item in items], until)
        return await self._finish(started, until)

    async def withdraw(self, item_ids: Sequence[str], until: float) -> tuple[list[Position], list[str]]:
        """Take items off every slate.

        Args:
            item_ids: The ids of the items.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            The position of the record of each known item, and the ids that are unknown.

        Raises:
            InvalidRequest: An id is not valid.
            NotAvailable: Kafka does not answer.
        """
        validation.item_ids(item_ids)
        # What is known is read in the lock, so that no put comes between the reading and the writing.
        async with self._writing:
            found = {item_id: self._newest(item_id) for item_id in item_ids}
            withdrawn = [
                (item_id, replace(item, withdrawn=True))
                for item_id, item in found.items()
                if item is not None
            ]
            started = await self._start(withdrawn, until)
        unknown = [item_id for item_id, item in found.items() if item is None]
        return await self._finish(started, until), unknown

    async def delete(self, item_ids: Sequence[str], until: float) -> tuple[list[Position], list[str]]:
        """Remove items from the catalogue.

        Unknown items are removed too, because this process may not have read them yet.

        Args:
            item_ids: The ids of the items.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            The position of the record of each different item, in order, and the ids that are unknown here.

        Raises:
            InvalidRequest: An id is not valid.
            NotAvailable: Kafka does not answer.
        """
        validation.item_ids(item_ids)
        async with self._writing:
            removed = dict.fromkeys(item_ids)
            unknown = [item_id for item_id in removed if self._newest(item_id) is None]
            started = await self._start([(item_id, None) for item_id in removed], until)
        return await self._finish(started, until), unknown

    async def _start(self, changes: Sequence[tuple[str, Item | None]], until: float) -> list[_Started]:
        """Pass changes to the producer. Call it in the lock, so that the pending change is the last one in the log."""
        started = []
        for at, (item_id, item) in enumerate(changes):
            value = None if item is None else item.to_proto().SerializeToString()
            try:
                appending = await self._writer.start(self._topic, item_id.encode(), value, until)
            except InvalidRequest as error:
                raise InvalidRequest(
                    [Violation(f"items[{at}]", v.problem) for v in error.violations]
                ) from error
            kept = None if item is None else item.without_contents()
            self._pending[item_id] = kept
            started.append(_Started(item_id, kept, appending))
        return started

    async def _finish(self, started: Sequence[_Started], until: float) -> list[Position]:
        """Wait for the acknowledgements, and apply the changes here."""
        positions = [await self._writer.position(one.appending, until) for one in started]
        await self._catalog.apply_written(
            WrittenItem(one.item_id, one.item, position.partition, position.offset)
            for one, position in zip(started, positions, strict=True)
        )
        for one in started:
            if self._pending.get(one.item_id, _NOT_PENDING) is one.item:
                self._pending.pop(one.item_id, None)
        return positions

    def _newest(self, item_id: str) -> Item | None:
        """The newest version of the item that this process knows. None: it is unknown, or was deleted."""
        pending = self._pending.get(item_id, _NOT_PENDING)
        if pending is not _NOT_PENDING:
            return pending
        row = self._catalog.row(item_id)
        return None if row is None else self._catalog.item(row)
