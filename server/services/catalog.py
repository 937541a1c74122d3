"""CatalogService."""

from dataclasses import dataclass
from typing import Any

import grpc

from catalog.top_items import ItemOrder, TopItem, TopItems
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from server.items.item_reader import ItemReader
from server.requests import validation
from server.requests.admission import Admission
from server.requests.slate_service import SlateService
from server.requests.status import answer
from server.services.interaction import writing_deadline
from server.settings import ServerSettings
from server.tokens.written import WriteTokens
from server.writes.item_writer import ItemWriter

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class CatalogService(CatalogServiceServicer):
    """Reads, puts, patches, withdraws and deletes items, and finds the top items."""

    item_reader: ItemReader
    item_writer: ItemWriter
    tokens: WriteTokens
    top_items: TopItems
    slate_service: SlateService
    admission: Admission
    settings: ServerSettings

    async def GetItem(self, request: rpc.GetItemRequest, context: Context) -> rpc.GetItemResponse:
        return await answer("GetItem", context, lambda: self._get(request))

    async def BatchGetItems(
        self, request: rpc.BatchGetItemsRequest, context: Context
    ) -> rpc.BatchGetItemsResponse:
        return await answer("BatchGetItems", context, lambda: self._batch_get(request))

    async def ListItems(self, request: rpc.ListItemsRequest, context: Context) -> rpc.ListItemsResponse:
        return await answer("ListItems", context, lambda: self._list(request))

    async def PutItems(self, request: rpc.PutItemsRequest, context: Context) -> rpc.PutItemsResponse:
        until = writing_deadline(context, self.settings)
        return await answer("PutItems", context, lambda: self._put(request, until))

    async def PatchItems(self, request: rpc.PatchItemsRequest, context: Context) -> rpc.PatchItemsResponse:
        until = writing_deadline(context, self.settings)
        return await answer("PatchItems", context, lambda: self._patch(request, until))

    async def WithdrawItems(
        self, request: rpc.WithdrawItemsRequest, context: Context
    ) -> rpc.WithdrawItemsResponse:
        until = writing_deadline(context, self.settings)
        return await answer("WithdrawItems", context, lambda: self._withdraw(request, until))

    async def DeleteItems(self, request: rpc.DeleteItemsRequest, context: Context) -> rpc.DeleteItemsResponse:
        until = writing_deadline(context, self.settings)
        return await answer("DeleteItems", context, lambda: self._delete(request, until))

    async def TopItems(self, request: rpc.TopItemsRequest, context: Context) -> rpc.TopItemsResponse:
        return await answer("TopItems", context, lambda: self._top(request))

    async def _get(self, request: rpc.GetItemRequest) -> rpc.GetItemResponse:
        with self.admission.call():
            validation.item(request.item_id)
            self.slate_service.check_ready()
            return self.item_reader.get(request.item_id)

    async def _batch_get(self, request: rpc.BatchGetItemsRequest) -> rpc.BatchGetItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            return await self.item_reader.batch_get(request)

    async def _list(self, request: rpc.ListItemsRequest) -> rpc.ListItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            return await self.item_reader.page(request)

    async def _put(self, request: rpc.PutItemsRequest, until: float) -> rpc.PutItemsResponse:
        with self.admission.call():
            positions = await self.item_writer.put(request.items, until)
            return rpc.PutItemsResponse(token=self.tokens.of_items(positions))

    async def _patch(self, request: rpc.PatchItemsRequest, until: float) -> rpc.PatchItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            positions, unknown = await self.item_writer.patch(request.patches, until)
            return rpc.PatchItemsResponse(token=self.tokens.of_items(positions), unknown_item_ids=unknown)

    async def _withdraw(self, request: rpc.WithdrawItemsRequest, until: float) -> rpc.WithdrawItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            updated_at = request.updated_at if request.HasField("updated_at") else None
            positions, unknown = await self.item_writer.withdraw(request.item_ids, until, updated_at)
            return rpc.WithdrawItemsResponse(token=self.tokens.of_items(positions), unknown_item_ids=unknown)

    async def _delete(self, request: rpc.DeleteItemsRequest, until: float) -> rpc.DeleteItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            updated_at = request.updated_at if request.HasField("updated_at") else None
            positions, unknown = await self.item_writer.delete(request.item_ids, until, updated_at)
            return rpc.DeleteItemsResponse(token=self.tokens.of_items(positions), unknown_item_ids=unknown)

    async def _top(self, request: rpc.TopItemsRequest) -> rpc.TopItemsResponse:
        with self.admission.call():
            self.slate_service.check_ready()
            query = validation.top_items(request)
            found = [
                _message(item, query.order)
                for item in self.top_items.find(query, self.slate_service.now_ms())
            ]
            if request.item_fields:
                shown = await self.item_reader.messages((each.item_id for each in found), request.item_fields)
                for each, item in zip(found, shown, strict=False):
                    each.item.CopyFrom(item)
            return rpc.TopItemsResponse(items=found)


def _message(item: TopItem, order: ItemOrder) -> rpc.TopItem:
    message = rpc.TopItem(item_id=item.item_id)
    if order is ItemOrder.POPULAR:
        message.popularity = int(item.figure)
    elif order is ItemOrder.TRENDING:
        message.trend = item.figure
    else:
        message.published_at.FromMilliseconds(int(item.figure))
    return message
