"""Reads items from the catalogue in memory."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from catalog.catalog import Catalog
from catalog.items.item_fields import ItemFields
from catalog.items.item_time import nanosecond_timestamp
from catalog.items.items import Item
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import item_pb2
from server.errors import UnknownItem
from server.items import item_pages
from server.items.item_order import ItemOrder
from server.requests import validation
from server.requests.view import ANSWER_BYTES
from server.tokens.sealing import Sealer

_ENTRY_BYTES: Final = 8
"""The tag and the length before an item, at most."""
_SLICE_SECONDS: Final = 0.002


class ItemReader:
    """Reads items by id and page by page.

    Args:
        catalog: The catalogue.
        version: Returns the model version that serves most users. 0: there is none.
        half_life_seconds: The half-life of the trend.
        now_ms: The wall clock, Unix milliseconds.
        sealer: Makes and opens page tokens.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        version: Callable[[], int],
        half_life_seconds: float,
        now_ms: Callable[[], int],
        sealer: Sealer,
    ) -> None:
        self._catalog = catalog
        self._sealer = sealer
        self._version = version
        self._half_life_seconds = half_life_seconds
        self._now_ms = now_ms
        self._order = ItemOrder(catalog)

    def get(self, item_id: str) -> rpc.GetItemResponse:
        """Return an item with its popularity.

        Raises:
            UnknownItem: The catalogue has no such item.
        """
        row = self._catalog.row(item_id)
        if row is None:
            raise UnknownItem(item_id)
        rows = np.array([row])
        trend = self._catalog.popularity(self._now_ms(), self._half_life_seconds)
        item = self._catalog.item(row)
        return rpc.GetItemResponse(
            item=ItemFields.of(()).message(item),
            updated_at=None if item.updated_at_ns is None else nanosecond_timestamp(item.updated_at_ns),
            embedded=bool(self._catalog.has_vector(self._version())[rows][0]),
            popularity=int(self._catalog.positives[rows][0]),
            trend=float(trend[rows][0]),
        )

    async def batch_get(self, request: rpc.BatchGetItemsRequest) -> rpc.BatchGetItemsResponse:
        """Return the known ones of some items, and the ids of the others.

        Raises:
            InvalidRequest: An id or a field is not valid.
        """
        validation.batch_get(request)
        rows = {item_id: self._catalog.row(item_id) for item_id in dict.fromkeys(request.item_ids)}
        known = [self._catalog.item(row) for row in rows.values() if row is not None]
        items = await self._messages(known, request.item_fields)
        return rpc.BatchGetItemsResponse(
            items=items,
            unknown_item_ids=[item_id for item_id, row in rows.items() if row is None],
            deferred_item_ids=[item.item_id for item in known[len(items) :]],
        )

    async def page(self, request: rpc.ListItemsRequest) -> rpc.ListItemsResponse:
        """Return a page of the catalogue.

        Raises:
            InvalidRequest: A field is not valid, or the token belongs to another request.
        """
        size, wanted = validation.list_items(request)
        last = item_pages.decode(request, self._sealer)
        mask = self._catalog.matching(wanted, request.domain) & (
            self._catalog.known if request.include_withdrawn else self._catalog.eligible(self._now_ms())
        )
        # One more than a page shows whether others follow.
        rows, hashes = self._order.following(last, mask, size + 1)
        listed = [self._catalog.item(row) for row in rows[:size].tolist()]
        items = await self._messages(listed, request.item_fields)
        answer = rpc.ListItemsResponse(items=items)
        if len(items) < len(rows):
            last = int(hashes[len(items) - 1])
            answer.next_page_token = item_pages.encode(request, last, self._sealer)
        return answer

    async def messages(self, item_ids: Iterable[str], paths: Sequence[str]) -> list[item_pb2.Item]:
        """Return the first of the items, which must be known, with the fields of these paths: as many as an answer
        holds."""
        # All are read now, because an item may be removed while other tasks run.
        rows = [self._catalog.row(item_id) for item_id in item_ids]
        return await self._messages([self._catalog.item(row) for row in rows if row is not None], paths)

    async def _messages(self, items: Iterable[Item], paths: Sequence[str]) -> list[item_pb2.Item]:
        """Return the first of the items as messages: as many as an answer holds, and one at least. Other tasks may run
        every few milliseconds."""
        fields = ItemFields.of(paths)
        messages: list[item_pb2.Item] = []
        size = 0
        began = time.monotonic()
        for item in items:
            message = fields.message(item)
            size += message.ByteSize() + _ENTRY_BYTES
            if messages and size > ANSWER_BYTES:
                break
            messages.append(message)
            if time.monotonic() - began > _SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.monotonic()
        return messages
