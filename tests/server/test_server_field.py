"""What users of other systems met, tried on a server: see FIELD.md."""

import asyncio
import secrets

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer

from profiles.times import timestamp
from recstream.client import Client, Item, ListRules, Pin, Promotion, category, item_ids
from recstream.storage.v1.slate_pb2 import SlateRecord
from tests.server.world import World, eventually, now_ms, world

ODD_IDS = (
    *(
        "a/b",
        "a%2Fb",
        "a#b",
        "a?b=1&c",
        "a,b",
        "*",
        "..",
        "_search",
        "null",
        "0",
        "item:similar",
        "-1",
        "'; --",
    ),
    *(" first", "last ", "caf\u00e9", "cafe\u0301", "\N{GRINNING FACE}", "\u200f\u05d0", "\ufeffmark"),
    *("nu\x00ll", "two\nlines", "x" * 256, "\N{CLAPPER BOARD}" * 64),
)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def around(kafka, valkey):
    async with world(kafka, valkey, f"t{secrets.token_hex(4)}-") as around:
        yield around


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(around: World):
    async with Client(around.target, timeout=20) as client:
        yield client


async def test_an_id_may_have_any_characters_and_differs_by_each(client: Client) -> None:
    await client.put_items(Item(item_id=each, title=each, domain="odd") for each in ODD_IDS)
    assert list(await client.get_items(ODD_IDS)) == list(ODD_IDS)
    ranked = await client.rank("ann", ODD_IDS)
    assert sorted(ranked.item_ids) == sorted(ODD_IDS) and not ranked.unknown_item_ids
    pages = [page async for page in client.list_items(domain="odd", page_size=1)]
    assert sorted(item.item_id for [item] in pages) == sorted(ODD_IDS)
    for each in ODD_IDS:
        assert (await client.item(each)).item.title == each
        assert (await client.recommend("ann", domain="odd", filter=item_ids(each))).item_ids == (each,)
    assert not (await client.withdraw(ODD_IDS)).unknown_item_ids
    assert await client.top_items(domain="odd") == ()
    assert not (await client.delete_items(ODD_IDS)).unknown_item_ids
    assert await client.get_items(ODD_IDS) == {}


async def test_of_items_with_one_id_the_last_of_a_put_stays(around: World, client: Client) -> None:
    await client.put_items(Item(item_id="one", title=str(n)) for n in range(50))
    assert (await client.item("one")).item.title == "49"
    await client.put_items([Item(item_id="after")])
    # What the server reads back from the log does not change it.
    await asyncio.sleep(0.2)
    assert (await client.item("one")).item.title == "49"
    assert len(await client.put_items([Item(item_id="one")])) == 1
    assert not (await client.withdraw(["one", "one"])).unknown_item_ids
    assert [top.item_id for top in await client.top_items(filter=item_ids("one"))] == []


async def test_items_that_rules_place_have_the_fields_that_are_asked_for(client: Client) -> None:
    rules = ListRules(
        pins=[Pin(item_id="item-99", position=1)],
        promotions=[Promotion(name="p", filter=category("c7").filter, share=0.5)],
    )
    films = await client.recommend("ann", count=6, rules=rules, item_fields=["title"])
    assert films[1].item_id == "item-99" and {film.reason.rule for film in films} == {"", "p"}
    assert [film.item.title for film in films] == [f"Title of {film.item_id}" for film in films]


async def test_an_item_is_among_the_newest_once_it_appears(client: Client) -> None:
    soon = now_ms() + 1_500
    items = {"old": -946_771_200_000, "soon": soon}
    await client.put_items(
        Item(item_id=each, domain="films", published_at=timestamp(time)) for each, time in items.items()
    )

    async def newest() -> list[str]:
        return [top.item_id for top in await client.top_items("newest", domain="films")]

    async def both() -> bool:
        return await newest() == ["soon", "old"]

    await eventually(both)


async def test_a_call_that_is_cancelled_leaves_no_record_of_a_list(around: World, client: Client) -> None:
    around.model.seconds = 2.0
    calls = [asyncio.create_task(client.rank("cid", [f"item-{n}"])) for n in range(3)]
    await asyncio.sleep(0.1)
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
    around.model.seconds = 0.0
    await asyncio.sleep(2.1)
    # A record of the cancelled calls would come before the one of this call.
    shown = await client.rank("cid", ["item-1"])
    assert await slates_of("cid", around, until=shown.slate_id) == [shown.slate_id]


async def slates_of(user_id: str, around: World, until: str) -> list[str]:
    """The ids of the recorded slates of a user, up to one of them."""
    found: list[str] = []
    consumer = AIOKafkaConsumer(
        around.kafka.topics.slates, auto_offset_reset="earliest", **around.kafka.client_options()
    )
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            while until not in found:
                record = SlateRecord.FromString((await consumer.getone()).value)
                if record.user_id == user_id:
                    found.append(record.slate.slate_id)
    finally:
        await consumer.stop()
    return found


@pytest.mark.parametrize("order", ["popular", "trending", "newest"])
async def test_an_item_that_is_withdrawn_is_not_among_the_top(client: Client, order: str) -> None:
    at = timestamp(now_ms() - 1000)
    await client.put_items(Item(item_id=order + each, domain=order, published_at=at) for each in "abc")
    await client.withdraw([f"{order}a"])
    await client.put_items([Item(item_id=f"{order}b", domain=order, published_at=at, withdrawn=True)])
    assert [top.item_id for top in await client.top_items(order, domain=order)] == [f"{order}c"]
