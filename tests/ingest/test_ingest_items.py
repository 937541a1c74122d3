"""Changes of items are folded by their source's time, whatever happens to the workers."""

import asyncio
import random
from collections.abc import Iterable

import pytest
from aiokafka import AIOKafkaProducer

from catalog.catalog import Catalog
from catalog.items.item_changes import decode_change, decode_state, deletion_value, patch_value, put_value
from catalog.items.item_state import ItemState, merge
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from ingest import metrics
from recstream.v1 import item_pb2
from tests.ingest.folding import all_folded, item_records, last_states, start_folding
from tests.ingest.world import World, until

SECOND = 1_000_000_000
Change = tuple[str, bytes]
PICTURE = item_pb2.Media(modality="image", content=b"\x89PNG picture")


def put(item_id: str, at: int, **fields: object) -> Change:
    return item_id, put_value(item_pb2.Item(item_id=item_id, **fields), at * SECOND)  # type: ignore[arg-type]


def patch(item_id: str, at: int, *paths: str, **fields: object) -> Change:
    item = item_pb2.Item(item_id=item_id, **fields)  # type: ignore[arg-type]
    return item_id, patch_value(item_pb2.ItemPatch(item=item, fields=paths), at * SECOND)


def delete(item_id: str, at: int) -> Change:
    return item_id, deletion_value(at * SECOND)


def price(value: float) -> dict[str, item_pb2.Attribute]:
    return {"price": item_pb2.Attribute(numbers=[value])}


async def send(world: World, *changes: Change) -> None:
    topic = world.kafka.topics.item_changes
    sent = [await world.producer.send(topic, value, key=item_id.encode()) for item_id, value in changes]
    await asyncio.gather(*sent)


def expected(changes: Iterable[Change]) -> dict[str, ItemState]:
    """The fold of all changes, in memory."""
    found: dict[str, ItemState] = {}
    for item_id, value in changes:
        state = decode_change(item_id.encode(), value).without_contents()
        found[item_id] = merge(found.get(item_id, ItemState(Item(item_id))), state)
    return found


def many(items: int, changes: int) -> list[Change]:
    """Changes of a few items, each of its own time, in any order and some of them twice."""
    rng = random.Random(7)
    made: list[Change] = []
    for at in range(1, changes + 1):
        item_id = f"i{rng.randrange(items)}"
        made.append(
            rng.choice(
                [
                    put(item_id, at, title=f"title {at}", categories=["x"], attributes=price(at)),
                    patch(item_id, at, "title", title=f"patched {at}"),
                    patch(item_id, at, "attributes.price", attributes=price(at)),
                    patch(item_id, at, "withdrawn", withdrawn=at % 2 == 0),
                    *([delete(item_id, at)] if at % 5 == 0 else []),
                ]
            )
        )
    made += rng.sample(made, changes // 5)
    rng.shuffle(made)
    return made


async def test_the_log_ends_in_the_state_of_the_latest_source_times(world: World) -> None:
    changes = many(items=20, changes=300)
    running = start_folding(world.kafka)
    await send(world, *changes)
    await all_folded(world.kafka)
    await running.stop()
    assert await last_states(world.kafka) == expected(changes)


async def test_nothing_is_lost_while_workers_join_leave_and_die(world: World) -> None:
    changes = many(items=20, changes=200)
    first = start_folding(world.kafka)
    await send(world, *changes[:80])
    second = start_folding(world.kafka)
    await send(world, *changes[80:160])
    await first.kill()
    await send(world, *changes[160:])
    third = start_folding(world.kafka)
    await second.kill()
    await all_folded(world.kafka)
    await third.stop()
    assert await last_states(world.kafka) == expected(changes)


async def test_an_owner_that_dies_before_its_commit_writes_nothing_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()
    commit = AIOKafkaProducer.commit_transaction

    async def never(producer: AIOKafkaProducer) -> None:
        await producer.flush()
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", never)
    running = start_folding(world.kafka)
    await send(world, put("a", 1, title="A"))
    await asyncio.wait_for(reached.wait(), 60)
    await running.kill()
    assert await item_records(world.kafka) == []
    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", commit)
    again = start_folding(world.kafka)
    await all_folded(world.kafka)
    await again.stop()
    assert len(await item_records(world.kafka)) == 1
    assert (await last_states(world.kafka))["a"].item.title == "A"


async def test_a_change_of_a_price_keeps_the_pictures_in_the_log(world: World) -> None:
    running = start_folding(world.kafka)
    await send(world, put("a", 1, title="A", media=[PICTURE], attributes=price(9)))
    await all_folded(world.kafka)
    await send(world, patch("a", 2, "attributes.price", attributes=price(8)))
    await all_folded(world.kafka)
    await running.stop()
    # The next worker has it from the log alone.
    running = start_folding(world.kafka)
    await send(world, patch("a", 3, "withdrawn", withdrawn=True), patch("a", 4, "media"))
    await send(world, put("b", 5), patch("b", 7, "media", media=[PICTURE]), put("b", 6, title="B"))
    await all_folded(world.kafka)
    await running.stop()
    found: dict[str, list[Item]] = {"a": [], "b": []}
    for record in await item_records(world.kafka):
        state = decode_state(record)
        found[state.item.item_id].append(state.item)
    contents = [[media.content for media in item.media] for item in found["a"]]
    assert contents[:2] == [[PICTURE.content]] * 2 and contents[-1] == []
    assert found["a"][1].numbers == {"price": (8.0,)}
    assert [media.content for media in found["b"][-1].media] == [PICTURE.content]
    assert found["b"][-1].title == "B"


async def test_an_older_record_of_another_producer_is_put_right(world: World) -> None:
    """It is the last in the log until then, and a new process would begin with it."""

    async def direct(item_id: str, at: int, **fields: object) -> None:
        item = item_pb2.Item(item_id=item_id, **fields)  # type: ignore[arg-type]
        item.updated_at.seconds = at
        await world.producer.send_and_wait(
            world.kafka.topics.items, item.SerializeToString(), key=item_id.encode()
        )

    async def puts_right(**titles: str) -> None:
        async def right() -> bool:
            found = await last_states(world.kafka)
            return {name: found[name].item.title for name in titles if found[name].listed} == titles

        await until(right)

    corrected = metrics.ITEMS_CORRECTED._value.get()
    running = start_folding(world.kafka)
    await send(world, put("a", 5, title="now"), patch("b", 9, "title", title="patched"), put("c", 5))
    await send(world, delete("c", 7))
    await all_folded(world.kafka)
    for item_id in ("a", "b", "c", "d"):
        await direct(item_id, 4, title="old", domain="video")
    await puts_right(a="now", b="patched", d="old")
    assert not (await last_states(world.kafka))["c"].listed
    assert metrics.ITEMS_CORRECTED._value.get() == corrected + 3
    await direct("a", 6, title="later")
    await send(world, patch("a", 7, "domain", domain="shop"), put("a", 5, title="now"))
    await all_folded(world.kafka)
    await puts_right(a="later")
    await running.stop()
    # While no worker runs, too.
    await direct("a", 3, title="older")
    assert (await last_states(world.kafka))["a"].item.title == "older"
    running = start_folding(world.kafka)
    await puts_right(a="later", d="old")
    await running.stop()
    assert (await last_states(world.kafka))["a"].item.domain == "shop"


async def test_a_change_that_cannot_be_read_stops_no_other(world: World) -> None:
    rejected = metrics.ITEM_CHANGES_BY["rejected"]._value.get()
    running = start_folding(world.kafka)
    await send(
        world, ("a", b"\xff\xff"), ("a", b"\x08\x01"), ("other", put("a", 1)[1]), put("a", 2, title="A")
    )
    await all_folded(world.kafka)
    await running.stop()
    assert metrics.ITEM_CHANGES_BY["rejected"]._value.get() == rejected + 3
    assert {name: state.item.title for name, state in (await last_states(world.kafka)).items()} == {"a": "A"}


async def test_a_new_process_reads_the_folded_items(world: World) -> None:
    changes = [
        put("a", 1, title="A"),
        delete("b", 9),
        put("b", 3),
        patch("a", 5, "withdrawn", withdrawn=True),
    ]
    running = start_folding(world.kafka)
    await send(world, *reversed(changes))
    await all_folded(world.kafka)
    await running.stop()
    catalog = Catalog(CatalogSettings(), world.kafka)
    reading = asyncio.create_task(catalog.run())
    try:
        await asyncio.wait_for(catalog.wait_ready(), 60)
        assert catalog.row("b") is None
        row = catalog.row("a")
        assert (
            row is not None and catalog.item(row).withdrawn and catalog.item(row).updated_at_ns == 5 * SECOND
        )
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
