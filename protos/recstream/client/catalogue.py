"""The client's calls for the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from recstream.client.connection import Connection
from recstream.v1.catalog_service_pb2 import (
    GetItemRequest,
    GetItemResponse,
    PutItemsRequest,
    PutItemsResponse,
    WithdrawItemsRequest,
    WithdrawItemsResponse,
)
from recstream.v1.interaction_pb2 import EventToken
from recstream.v1.item_pb2 import Item

#: The most items and bytes of a request. The bytes stay below gRPC's usual limit of 4 MiB.
ITEMS_PER_REQUEST = 1_000
BYTES_PER_REQUEST = 3 << 20


class Catalogue:
    """The catalogue: the items that can be recommended."""

    _connection: Connection

    async def item(self, item_id: str, *, timeout: float | None = None) -> GetItemResponse:
        """Returns an item with its popularity.

        Raises:
            NotFound: the item is unknown.

        Example:
            answer = await client.item("tt0114709")
            print(answer.item.title, answer.popularity)
        """
        request = GetItemRequest(item_id=item_id)
        return await self._connection.call(self._connection.catalog.GetItem, request, timeout)

    async def put_items(self, items: Iterable[Item], *, timeout: float | None = None) -> list[EventToken]:
        """Adds or replaces any number of items. Returns when Kafka has them.

        Args:
            items: the items; they are sent in requests of a bounded size, one after another.
            timeout: seconds for each request; None: the client's default.

        Returns:
            One token for each item, in order.

        Raises:
            InvalidRequest: a field is invalid, such as `items[3].item_id`; earlier requests were accepted.

        Example:
            await client.put_items([Item(item_id="tt0114709", title="Toy Story", categories=["Animation"])])
        """
        tokens: list[EventToken] = []
        for batch in _batches(items):
            answer: PutItemsResponse = await self._connection.call(
                self._connection.catalog.PutItems, PutItemsRequest(items=batch), timeout, hedge=False
            )
            tokens.extend(answer.tokens)
        return tokens

    async def withdraw(
        self, item_ids: Iterable[str], *, timeout: float | None = None
    ) -> WithdrawItemsResponse:
        """Removes items from every list, at once. They stay in the catalogue, and may be put again.

        Example:
            answer = await client.withdraw(["tt0114709"])
            print(answer.unknown_item_ids)
        """
        request = WithdrawItemsRequest(item_ids=item_ids)
        return await self._connection.call(
            self._connection.catalog.WithdrawItems, request, timeout, hedge=False
        )


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        grown = item.ByteSize() + 8  # tag and length
        if batch and (len(batch) == ITEMS_PER_REQUEST or size + grown > BYTES_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += grown
    if batch:
        yield batch
