"""Two servers of one installation, with the worker that folds changes of items."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import item_pb2
from recstream.v1.catalog_service_pb2_grpc import CatalogServiceStub
from server.app import Server
from tests.ingest.folding import start_folding
from tests.server.world import World, eventually, world


@dataclass
class Shop:
    """The servers, and the calls of their catalogues."""

    world: World
    servers: Sequence[Server]
    catalogs: Sequence[CatalogServiceStub]


@asynccontextmanager
async def shop(kafka, valkey, prefix: str, *, folded: bool = True) -> AsyncIterator[Shop]:
    """Yields two servers. `folded` says whether the worker runs."""
    async with world(kafka, valkey, prefix, items=["item-0"]) as around:
        folding = start_folding(around.kafka) if folded else None
        try:
            async with another_server(around) as (other, catalog):
                yield Shop(around, (around.server, other), (around.catalog, catalog))
        finally:
            if folding is not None:
                await folding.stop()


@asynccontextmanager
async def another_server(around: World) -> AsyncIterator[tuple[Server, CatalogServiceStub]]:
    """Yields a further server of the installation, which is ready, and the calls of its catalogue."""
    server = Server(around.server.config, around.model)
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)])
    try:
        await eventually(lambda: not server.health.not_ready, 60)
        yield server, CatalogServiceStub(channel)
    finally:
        await channel.close()
        await server.close()


@dataclass(frozen=True)
class Expected:
    """What an item ends as: its latest put, and of each field the latest patch after that."""

    title: str
    price: float
    withdrawn: bool


async def shuffled_changes(shop: Shop, items: int, changes: int) -> Mapping[str, Expected]:
    """Sends puts, patches and withdrawals of different source times through both servers, in any order and some of them
    twice. Returns what the items must end as."""
    rng = random.Random(11)
    calls: list[tuple[str, rpc.PutItemsRequest | rpc.PatchItemsRequest | rpc.WithdrawItemsRequest]] = []
    final: dict[str, Expected] = {}
    for at in range(1, changes + 1):
        item_id = f"i{at % items}"
        item = item_pb2.Item(item_id=item_id, title=f"title {at}")
        item.attributes["price"].numbers.append(at)
        item.updated_at.seconds = 1_700_000_000 + at
        before = final.get(item_id)
        kind = "put" if before is None else rng.choice(["put", "price", "title", "withdraw"])
        if before is None or kind == "put":
            final[item_id] = Expected(item.title, at, False)
            calls.append(("PutItems", rpc.PutItemsRequest(items=[item])))
        elif kind == "withdraw":
            final[item_id] = Expected(before.title, before.price, True)
            withdrawal = rpc.WithdrawItemsRequest(item_ids=[item_id], updated_at=item.updated_at)
            calls.append(("WithdrawItems", withdrawal))
        else:
            price = kind == "price"
            final[item_id] = Expected(
                before.title if price else item.title, at if price else before.price, before.withdrawn
            )
            patch = item_pb2.ItemPatch(item=item, fields=["attributes.price" if price else "title"])
            calls.append(("PatchItems", rpc.PatchItemsRequest(patches=[patch])))
    calls += rng.sample(calls, changes // 10)  # retries
    rng.shuffle(calls)
    waiting = asyncio.Semaphore(50)

    async def send(name: str, request: object) -> None:
        # What was not acknowledged in time may have arrived. It is sent again, as a client does.
        async with waiting, asyncio.timeout(120):
            while True:
                try:
                    await getattr(rng.choice(shop.catalogs), name)(request, timeout=60)
                    return
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise

    async with asyncio.TaskGroup() as group:
        for name, request in calls:
            group.create_task(send(name, request))
    return final


def shown(server: Server, item_ids: Sequence[str]) -> dict[str, Expected]:
    """The items as a server knows them."""
    found = {}
    for item_id in item_ids:
        row = server.catalog.row(item_id)
        if row is not None:
            item = server.catalog.item(row)
            found[item_id] = Expected(item.title, item.numbers["price"][0], item.withdrawn)
    return found
