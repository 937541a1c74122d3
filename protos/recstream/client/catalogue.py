"""The client's calls for the catalogue."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from recstream.client.arguments import text, texts
from recstream.client.connection import Connection
from recstream.client.errors import InvalidRequest, ServerError
from recstream.client.filters import Filterable, filter_fields
from recstream.v1.catalog_service_pb2 import (
    ITEM_ORDER_NEWEST,
    ITEM_ORDER_POPULAR,
    ITEM_ORDER_TRENDING,
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    DeleteItemsRequest,
    DeleteItemsResponse,
    GetItemRequest,
    GetItemResponse,
    ListItemsRequest,
    PatchItemsRequest,
    PatchItemsResponse,
    PutItemsRequest,
    PutItemsResponse,
    TopItem,
    TopItemsRequest,
    WithdrawItemsRequest,
    WithdrawItemsResponse,
)
from recstream.v1.item_pb2 import Item, ItemPatch

#: The most items and bytes of a request. The bytes stay below gRPC's usual limit of 4 MiB.
ITEMS_PER_REQUEST = 1_000
BYTES_PER_REQUEST = 3 << 20

T = TypeVar("T", Item, ItemPatch)

Order = Literal["popular", "trending", "newest"]
_ORDERS = {"popular": ITEM_ORDER_POPULAR, "trending": ITEM_ORDER_TRENDING, "newest": ITEM_ORDER_NEWEST}


@dataclass(frozen=True, slots=True)
class PatchedItems:
    """Accepted patches.

    Attributes:
        count: how many patches were sent.
        tokens: for `after=`, one for each request of up to 1,000 patches.
        unknown_item_ids: the items that the server did not know; their patches wait until they are put.
    """

    count: int
    tokens: tuple[str, ...]
    unknown_item_ids: tuple[str, ...]


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
        request = GetItemRequest(item_id=text("item_id", item_id))
        return await self._connection.call(self._connection.catalog.GetItem, request, timeout)

    async def get_items(
        self, item_ids: Iterable[str], *, item_fields: Iterable[str] = (), timeout: float | None = None
    ) -> dict[str, Item]:
        """Returns any number of items by id. Unknown items are not in the result.

        Args:
            item_ids: the ids; they are sent in requests of a bounded size, one after another.
            item_fields: fields of the items, such as `title` or `attributes.price`, at most 32; none: all of them.
            timeout: seconds for each request; None: the client's default.

        Returns:
            The known items, in the order of the ids. Their media have hashes instead of contents.

        Raises:
            InvalidRequest: an id or a field is invalid.

        Example:
            films = await client.get_items(["tt0114709", "tt0133093"], item_fields=["title"])
            print({item_id: film.title for item_id, film in films.items()})
        """
        fields = texts("item_fields", item_fields)
        index: dict[str, int] = {}
        for at, item_id in enumerate(texts("item_ids", item_ids)):
            index.setdefault(item_id, at)
        left = iter(index)
        found: dict[str, Item] = {}
        deferred: Sequence[str] = ()
        # An answer may have no room for all items. Those that it defers are asked for again.
        while asked := [*deferred, *islice(left, ITEMS_PER_REQUEST - len(deferred))]:
            request = BatchGetItemsRequest(item_ids=asked, item_fields=fields)
            try:
                answer: BatchGetItemsResponse = await self._connection.call(
                    self._connection.catalog.BatchGetItems, request, timeout
                )
            except InvalidRequest as error:
                raise _renumbered(
                    error, "item_ids", [index[item_id] for item_id in asked]
                ) from error.__cause__
            found.update((item.item_id, item) for item in answer.items)
            deferred = answer.deferred_item_ids
            if deferred and not answer.items:
                raise ServerError("the server defers all items and answers none")
        return found

    async def list_items(
        self,
        *,
        domain: str = "",
        filter: Filterable | None = None,
        include_withdrawn: bool = False,
        item_fields: Iterable[str] = (),
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[tuple[Item, ...], None]:
        """Yields the items of the catalogue page by page, in an order that is the same on every server.

        An item that is there during all pages comes exactly once. An item that is put meanwhile may be missed.

        Args:
            domain: only items of this domain.
            filter: only items that match; see `Filterable`.
            include_withdrawn: True: also items that are withdrawn or have expired.
            item_fields: fields of the items, as in `get_items()`; none: all of them.
            page_size: the most items of a page, 1 to 1,000; 0: the server's default, 100.
            timeout: seconds for each page; None: the client's default.

        Raises:
            InvalidRequest: a field is invalid.

        Example:
            async for page in client.list_items(domain="video", item_fields=["title"]):
                for film in page:
                    print(film.item_id, film.title)
        """
        request = ListItemsRequest(
            page_size=page_size,
            domain=domain,
            **filter_fields(filter),
            include_withdrawn=include_withdrawn,
            item_fields=texts("item_fields", item_fields),
        )
        while True:
            answer = await self._connection.call(self._connection.catalog.ListItems, request, timeout)
            if answer.items:
                yield tuple(answer.items)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return

    async def put_items(self, items: Iterable[Item], *, timeout: float | None = None) -> list[str]:
        """Adds or replaces any number of items. Returns when Kafka has them.

        The later `updated_at` of an item wins, in whatever order puts and patches arrive. Set it, so that a late retry
        does not replace what is newer. Without it, the server takes the time at which it receives the item.

        Args:
            items: the items; they are sent in requests of a bounded size, one after another.
            timeout: seconds for each request; None: the client's default.

        Returns:
            One token for each request of up to 1,000 items. With all of them in `after=`, a list knows the items,
            whichever server makes it.

        Raises:
            InvalidRequest: a field is invalid, such as `items[3].item_id`, where 3 is the index in `items`. No item of
                that request is put, and all of the earlier requests are.

        Example:
            await client.put_items([Item(item_id="tt0114709", title="Toy Story", categories=["Animation"])])
        """
        tokens: list[str] = []
        sent = 0
        for batch in _batches(items):
            indices = range(sent, sent + len(batch))
            try:
                answer: PutItemsResponse = await self._connection.call(
                    self._connection.catalog.PutItems, PutItemsRequest(items=batch), timeout, hedge=False
                )
            except InvalidRequest as error:
                raise _renumbered(error, "items", indices) from error.__cause__
            tokens.append(answer.token)
            sent += len(batch)
        return tokens

    async def patch_items(
        self, patches: Iterable[ItemPatch], *, timeout: float | None = None
    ) -> PatchedItems:
        """Sets or clears single fields of any number of items. Returns when Kafka has the patches.

        The later `updated_at` of a field wins, as with `put_items()`. A patch of an item that was not put yet waits for
        it.

        Args:
            patches: for each item, the values and the fields to set, such as `withdrawn` or `attributes.price`. A field
                that the item does not have is cleared. They are sent in requests of a bounded size, one after another.
            timeout: seconds for each request; None: the client's default.

        Returns:
            How many were sent, their tokens for `after=`, and the ids that the server did not know.

        Raises:
            InvalidRequest: a field is invalid, such as `patches[3].fields[0]`, where 3 is the index in `patches`.
                Earlier requests were accepted.

        Example:
            shoe = Item(item_id="shoe-7", attributes={"price": Attribute(numbers=[79.0])})
            await client.patch_items([ItemPatch(item=shoe, fields=["attributes.price"])])
        """
        tokens: list[str] = []
        unknown: list[str] = []
        sent = 0
        for batch in _batches(patches):
            indices = range(sent, sent + len(batch))
            try:
                answer: PatchItemsResponse = await self._connection.call(
                    self._connection.catalog.PatchItems,
                    PatchItemsRequest(patches=batch),
                    timeout,
                    hedge=False,
                )
            except InvalidRequest as error:
                raise _renumbered(error, "patches", indices) from error.__cause__
            tokens.append(answer.token)
            unknown.extend(answer.unknown_item_ids)
            sent += len(batch)
        return PatchedItems(sent, tuple(tokens), tuple(dict.fromkeys(unknown)))

    async def withdraw(
        self,
        item_ids: Iterable[str],
        *,
        updated_at: datetime | None = None,
        timeout: float | None = None,
    ) -> WithdrawItemsResponse:
        """Takes items off every list. They stay in the catalogue, and may be put again.

        Args:
            item_ids: the ids, at most 1,000.
            updated_at: when the source withdrew them; None: now.
            timeout: seconds; None: the client's default.

        Raises:
            InvalidRequest: an id is invalid.

        Example:
            answer = await client.withdraw(["tt0114709"])
            print(answer.unknown_item_ids)
        """
        request = WithdrawItemsRequest(
            item_ids=texts("item_ids", item_ids), updated_at=_timestamp(updated_at)
        )
        return await self._connection.call(
            self._connection.catalog.WithdrawItems, request, timeout, hedge=False
        )

    async def delete_items(
        self,
        item_ids: Iterable[str],
        *,
        updated_at: datetime | None = None,
        timeout: float | None = None,
    ) -> DeleteItemsResponse:
        """Removes items from the catalogue, with their media and vectors, and from every list.

        Args:
            item_ids: the ids, at most 1,000. Deleting an item twice is not an error.
            updated_at: when the source deleted them; None: now.
            timeout: seconds; None: the client's default.

        Raises:
            InvalidRequest: an id is invalid.

        Example:
            answer = await client.delete_items(["tt0114709"])
            print(answer.unknown_item_ids)
        """
        request = DeleteItemsRequest(item_ids=texts("item_ids", item_ids), updated_at=_timestamp(updated_at))
        return await self._connection.call(
            self._connection.catalog.DeleteItems, request, timeout, hedge=False
        )

    async def top_items(
        self,
        order: Order = "popular",
        *,
        window: timedelta | None = None,
        count: int = 0,
        domain: str = "",
        filter: Filterable | None = None,
        excluded: Iterable[str] = (),
        item_fields: Iterable[str] = (),
        timeout: float | None = None,
    ) -> tuple[TopItem, ...]:
        """Returns the top items of the catalogue, best first, without a user.

        Args:
            order: `popular`: most positive events first; `trending`: recent events count most; `newest`: latest
                published first.
            window: for `popular`, counts the events of the last so much time, at most 255 days, rounded to hours and,
                beyond 62 hours, to days; None: all events.
            count: how many items, 1 to 500; 0: the server's default, 20.
            domain: only items of this domain.
            filter: which items may be among them.
            excluded: ids of items to leave out, at most 1,000.
            item_fields: fields of the items to show, such as `title`, at most 32. Each `TopItem.item` has them.
            timeout: seconds; None: the client's default.

        Returns:
            The items, each with its `popularity`, `trend` or `published_at`.

        Raises:
            ValueError: there is no such order.
            InvalidRequest: a field is invalid.
            RecstreamError: see `recstream.client.errors`.

        Example:
            for item in await client.top_items("popular", window=timedelta(days=1), count=10):
                print(item.item_id, item.popularity)
        """
        if order not in _ORDERS:
            raise ValueError(f"order is {order!r}; it must be {', '.join(_ORDERS)}")
        request = TopItemsRequest(
            order=_ORDERS[order],
            count=count,
            domain=domain,
            **filter_fields(filter),
            excluded_item_ids=texts("excluded", excluded),
            item_fields=texts("item_fields", item_fields),
        )
        if window is not None:
            request.window.FromTimedelta(window)
        answer = await self._connection.call(self._connection.catalog.TopItems, request, timeout)
        return tuple(answer.items)


def _renumbered(error: InvalidRequest, field: str, indices: Sequence[int]) -> InvalidRequest:
    """The error with the caller's indices of a field, of which the request had a part."""

    def caller(found: re.Match[str]) -> str:
        return f"{field}[{indices[int(found[1])]}]"

    def renumbered(text: str) -> str:
        return re.sub(rf"\b{field}\[(\d+)\]", caller, text)

    violations = tuple(
        replace(each, field=renumbered(each.field), description=renumbered(each.description))
        for each in error.violations
    )
    return InvalidRequest(renumbered(error.message), replace(error.details, violations=violations))


def _batches(messages: Iterable[T]) -> Iterator[list[T]]:
    batch: list[T] = []
    size = 0
    for message in messages:
        grown = message.ByteSize() + 8  # tag and length
        if batch and (len(batch) == ITEMS_PER_REQUEST or size + grown > BYTES_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += grown
    if batch:
        yield batch


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"updated_at is {time}, without a time zone")
    made = Timestamp()
    made.FromDatetime(time)
    return made
