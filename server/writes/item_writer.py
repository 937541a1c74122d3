"""Reads items from the catalogue in memory, and writes items to the log."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from cachetools import TTLCache

from catalog.catalog import Catalog
from catalog.items.item_check import check
from catalog.items.items import Item, from_proto
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import interaction_pb2, item_pb2
from server.errors import InvalidRequest, UnknownItem, Violation
from server.requests.validation import Check
from server.writes.log_writer import LogWriter
from server.writes.recording import token

MAX_ITEMS: Final = 1_000
"""Most items of one request."""
_RECENT_ITEMS: Final = 10_000
_RECENT_SECONDS: Final = 10.0


class ItemWriter:
    """Reads items by id, and writes changes to them.

    Items that this process wrote in the last ten seconds are cached, so that a withdrawal right after a put does not
    restore the old item.

    Args:
        catalog: The catalogue.
        writer: Writes to the log.
        topic: The topic of items.
        version: Returns the model version that serves most users. 0: there is none.
        half_life_seconds: The half-life of the trend.
        now_ms: The wall clock, Unix milliseconds.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        writer: LogWriter,
        topic: str,
        version: Callable[[], int],
        half_life_seconds: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._writer = writer
        self._topic = topic
        self._version = version
        self._half_life_seconds = half_life_seconds
        self._now_ms = now_ms
        self._recent: TTLCache[str, Item] = TTLCache(_RECENT_ITEMS, _RECENT_SECONDS)
        self._writing = asyncio.Lock()

    def get(self, item_id: str) -> rpc.GetItemResponse:
        """Return an item with its popularity.

        Raises:
            UnknownItem: The catalogue has no such item.
        """
        row = self._catalog.row(item_id)
        item = self._newest(item_id)
        if item is None:
            raise UnknownItem(item_id)
        if row is None:
            return rpc.GetItemResponse(item=item.to_proto())
        rows = np.array([row])
        trend = self._catalog.popularity(self._now_ms(), self._half_life_seconds)
        return rpc.GetItemResponse(
            item=item.to_proto(),
            embedded=bool(self._catalog.has_vector(self._version())[rows][0]),
            popularity=int(self._catalog.positives[rows][0]),
            trend=float(trend[rows][0]),
        )

    async def put(self, items: Sequence[item_pb2.Item], until: float) -> list[interaction_pb2.EventToken]:
        """Add or replace items.

        Args:
            items: The items. All are checked before the first is written.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            A token for each item, in order.

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
        return await self._write([from_proto(item) for item in items], until)

    async def withdraw(
        self, item_ids: Sequence[str], until: float
    ) -> tuple[list[interaction_pb2.EventToken], list[str]]:
        """Take items off every slate.

        Args:
            item_ids: The ids of the items.
            until: When to stop waiting for Kafka, on `time.monotonic()`.

        Returns:
            A token for each known item, and the ids that are unknown.

        Raises:
            InvalidRequest: An id is not valid.
            NotAvailable: Kafka does not answer.
        """
        checks = Check()
        if checks.length("item_ids", item_ids, MAX_ITEMS):
            for at, item_id in enumerate(item_ids):
                checks.identifier(f"item_ids[{at}]", item_id)
        checks.done()
        found = {item_id: self._newest(item_id) for item_id in dict.fromkeys(item_ids)}
        withdrawn = [replace(item, withdrawn=True) for item in found.values() if item is not None]
        return await self._write(withdrawn, until), [
            item_id for item_id, item in found.items() if item is None
        ]

    async def _write(self, items: Sequence[Item], until: float) -> list[interaction_pb2.EventToken]:
        # One request at a time, so that the cache has the version of an item that is last in the log.
        async with self._writing:
            under_way = []
            for at, item in enumerate(items):
                try:
                    value = item.to_proto().SerializeToString()
                    under_way.append(
                        await self._writer.start(self._topic, item.item_id.encode(), value, until)
                    )
                except InvalidRequest as error:
                    raise InvalidRequest(
                        [Violation(f"items[{at}]", v.problem) for v in error.violations]
                    ) from error
                self._recent[item.item_id] = item.without_contents()
        return [token(await self._writer.position(one, until)) for one in under_way]

    def _newest(self, item_id: str) -> Item | None:
        """The newest version of the item that this process knows."""
        written = self._recent.get(item_id)
        if written is not None:
            return written
        row = self._catalog.row(item_id)
        return None if row is None else self._catalog.item(row)
