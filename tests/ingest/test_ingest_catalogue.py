"""An item becomes a vector once, and again when its text or the model changes. A removed item loses its vector."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiokafka import ConsumerRecord

from catalog.catalog import Catalog
from catalog.items.items import Item as CatalogItem
from catalog.items.items import decode
from catalog.records import vector_key
from catalog.settings import CatalogSettings
from inference.bundle.bundle import Bundle, read
from inference.model import Floats, ModelUnavailable, NotFinite, Tokens
from ingest.consuming.groups import catalogue_group
from ingest.consuming.offsets import committed, partitions_of
from ingest.consuming.supervise import supervise
from ingest.embeddings.embedding import Embedding
from ingest.embeddings.worker import CatalogueWorker
from profiles.times import timestamp
from recstream.storage.v1.catalog_pb2 import ItemVector
from recstream.v1.item_pb2 import Attribute, Item, Media
from telemetry.faults import FAULTS
from telemetry.health import Health
from tests.ingest.model import WIDTH
from tests.ingest.world import World, until
from topics.ids import topic_ids


@pytest.fixture
def read_bundle(bundle: Path) -> Bundle:
    """A bundle whose model reads the attribute `brand`."""
    found = read(bundle)
    return replace(found, manifest=found.manifest.model_copy(update={"text_attributes": ("brand",)}))


class Shop:
    """A catalogue, a worker on it, and the topic of items."""

    def __init__(self, world: World, bundle: Bundle) -> None:
        self.world = world
        self.bundle = bundle
        self.version = bundle.manifest.version
        self.catalog = Catalog(CatalogSettings(), world.kafka)
        self.stop_event = asyncio.Event()
        self.health = Health()
        self.tasks = [asyncio.create_task(self.catalog.run())]

    async def start(self) -> None:
        await self.catalog.wait_ready()
        world = self.world
        worker = CatalogueWorker(
            world.kafka, world.settings, self.bundle, world.model, self.catalog, self.health
        )
        work = supervise("catalogue", worker.run, self.health, world.settings, self.stop_event)
        self.tasks.append(asyncio.create_task(work))

    async def close(self) -> None:
        self.stop_event.set()
        for task in self.tasks[1:]:
            await asyncio.wait_for(task, 30)
        self.tasks[0].cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def put(self, item_id: str, title: str | None = "title", **fields: object) -> None:
        value = None if title is None else Item(item_id=item_id, title=title, **fields).SerializeToString()  # type: ignore[arg-type]
        await self.put_raw(item_id.encode(), value)

    async def put_raw(self, key: bytes | None, value: bytes | None) -> None:
        await self.world.producer.send_and_wait(self.world.kafka.topics.items, value, key=key)

    async def caught_up(self) -> None:
        kafka = self.world.kafka
        topic_id = (await topic_ids(kafka, [kafka.topics.items]))[kafka.topics.items]

        async def committed_all() -> bool:
            partitions = await partitions_of(kafka, kafka.topics.items)
            found = await committed(kafka, catalogue_group(kafka, self.version, 0, topic_id), partitions)
            records = await self.world.records(kafka.topics.items)
            ends = {tp.partition: 0 for tp in partitions}
            for record in records:
                ends[record.partition] = max(ends[record.partition], record.offset + 1)
            return all(ends[tp.partition] == (found[tp].offset if tp in found else 0) for tp in partitions)

        await until(committed_all)

    async def letters(self) -> list[ConsumerRecord]:
        return await self.world.records(self.world.kafka.topics.items_dead_letter)

    async def has_vector(self, item_id: str) -> None:
        async def there() -> bool:
            return self.catalog.vector(self.version, item_id) is not None

        await until(there)


@pytest.fixture
async def shop(world: World, read_bundle: Bundle):  # type: ignore[no-untyped-def]
    found = Shop(world, read_bundle)
    await found.start()
    yield found
    await found.close()


async def test_an_item_is_embedded_once_until_its_text_changes(shop: Shop) -> None:
    await shop.put("a")
    await shop.has_vector("a")
    before = sum(shop.world.model.encoded)
    await shop.put("a")
    await shop.put("a", withdrawn=True, expires_at=timestamp(9_999_999_999_999))
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == before == 1
    await shop.put("a", "other title")
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 2


async def test_a_change_of_what_the_model_does_not_read_costs_no_call(shop: Shop) -> None:
    acme, few, none = Attribute(texts=["Acme"]), Attribute(texts=["few"]), Attribute(texts=["none"])
    await shop.put("a", attributes={"brand": acme, "stock": few, "price": Attribute(numbers=[12.5])})
    await shop.has_vector("a")
    vector = shop.catalog.vector(shop.version, "a")
    await shop.put("a", attributes={"brand": acme, "stock": none, "price": Attribute(numbers=[9, 8])})
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 1
    assert np.array_equal(shop.catalog.vector(shop.version, "a"), vector)
    # Only an item that is read differently is embedded again.
    await shop.put("a", attributes={"brand": Attribute(texts=["Acme", "Ajax"]), "stock": none})
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 2
    await shop.put("a", "another title", attributes={"brand": Attribute(texts=["Acme", "Ajax"])})
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 3


async def test_a_picture_is_part_of_the_vector_and_dropping_its_content_keeps_the_vector(shop: Shop) -> None:
    shown = [Media(modality="image", content=b"one")]
    await shop.put("a", media=shown)
    await shop.has_vector("a")
    kept = shop.catalog.item(shop.catalog.row("a") or 0)
    assert kept.media and not kept.media[0].content
    withdrawn = kept.to_proto()
    withdrawn.withdrawn = True
    await shop.put_raw(b"a", withdrawn.SerializeToString())
    await shop.put("a", media=shown)
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 1
    await shop.put("a", media=[Media(modality="image", content=b"two")])
    await shop.put("b")
    await shop.has_vector("b")
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 3
    # Embedded without its picture, and again when the picture is there.
    await shop.put_raw(
        b"c", Item(item_id="c", media=[Media(modality="image", content_hash=b"h" * 16)]).SerializeToString()
    )
    await shop.has_vector("c")
    await shop.put("c", "", media=shown)
    await shop.caught_up()
    assert sum(shop.world.model.encoded) == 5


async def test_a_removed_item_loses_its_vector_and_removing_an_unknown_item_does_no_harm(shop: Shop) -> None:
    await shop.put("a")
    await shop.has_vector("a")
    await shop.put("a", None)
    await shop.put("never seen", None)

    async def gone() -> bool:
        return shop.catalog.vector(shop.version, "a") is None

    await until(gone)
    await shop.put("a")
    await shop.has_vector("a")
    assert await shop.letters() == []


async def test_a_vector_whose_items_removal_nobody_read_is_removed_by_the_next_worker(
    world: World, read_bundle: Bundle
) -> None:
    """Kafka drops the record of a removal after a day, so a worker that was away for longer never reads it."""
    version = read_bundle.manifest.version
    vector = ItemVector(vector=np.ones(WIDTH, "<f4").tobytes(), content_hash=b"h" * 16)
    for item_id in ("gone", "kept"):
        await world.producer.send_and_wait(
            world.kafka.topics.item_vectors, vector.SerializeToString(), key=vector_key(version, item_id)
        )
    shop = Shop(world, read_bundle)
    await shop.put("kept")
    await shop.start()
    try:

        async def gone() -> bool:
            return shop.catalog.vector(version, "gone") is None

        await until(gone)
        await shop.caught_up()
        assert shop.catalog.vector(version, "kept") is not None
        await shop.put("gone")
        await shop.has_vector("gone")
    finally:
        await shop.close()


async def test_bad_items_become_dead_letters_and_their_neighbours_are_embedded(shop: Shop) -> None:
    await shop.put_raw(b"x", b"\xff\xff")
    await shop.put_raw(b"\xff", None)
    await shop.put_raw(b"y", Item(item_id="z", title="under another's key").SerializeToString())
    await shop.put("a")
    await shop.has_vector("a")
    await shop.caught_up()
    found = await shop.letters()
    assert sorted(dict(letter.headers)["recstream-reason"] for letter in found) == [b"item", b"item", b"key"]


async def test_items_wait_while_the_model_is_away(shop: Shop) -> None:
    shop.world.model.down = True
    await shop.put("a")
    await asyncio.sleep(1)
    assert shop.catalog.vector(shop.version, "a") is None
    shop.world.model.down = False
    await shop.has_vector("a")


async def test_an_item_whose_vector_is_not_finite_fails_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = shop.world.model.encode_items
    bad = shop.bundle.tokens(["bad"], ["bad"]).ids.sum()

    async def poisoned(version: int, tokens: Tokens, *, timeout: float):  # type: ignore[no-untyped-def]
        if rows := tuple(row for row, ids in enumerate(tokens.ids) if ids.sum() == bad):
            raise NotFinite("not finite", rows)
        return await answer(version, tokens, timeout=timeout)

    monkeypatch.setattr(shop.world.model, "encode_items", poisoned)
    await shop.put("bad", "bad")
    await shop.put("a", "good")
    await shop.has_vector("a")
    await shop.caught_up()
    assert [dict(letter.headers)["recstream-reason"] for letter in await shop.letters()] == [b"not_embedded"]


async def test_an_item_that_the_model_cannot_embed_does_not_hold_up_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = shop.world.model.encode_items
    bad = shop.bundle.tokens(["bad"], ["bad"]).ids.sum()

    async def refusing(version: int, tokens: Tokens, *, timeout: float):  # type: ignore[no-untyped-def]
        if any(ids.sum() == bad for ids in tokens.ids):
            raise ModelUnavailable("INVALID_ARGUMENT")
        return await answer(version, tokens, timeout=timeout)

    monkeypatch.setattr(shop.world.model, "encode_items", refusing)
    await shop.put("bad", "bad")
    await shop.put("a", "good")
    await shop.has_vector("a")
    await shop.caught_up()
    assert [dict(letter.headers)["recstream-reason"] for letter in await shop.letters()] == [b"not_embedded"]


async def test_an_item_that_meets_a_fault_of_ours_lies_in_the_dead_letters_and_holds_nobody_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Xatu 861: one record that nobody foresaw stopped its partition, however often the consumer was restarted."""
    encode = Embedding._encode

    def decoding(key: bytes | None, value: bytes) -> CatalogItem:
        if key == b"unreadable":
            raise ZeroDivisionError(key)
        return decode(key, value)

    async def encoding(self: Embedding, items: Sequence[CatalogItem]) -> dict[str, Floats]:
        if any(item.item_id == "poison" for item in items):
            raise ZeroDivisionError("poison")
        return await encode(self, items)

    monkeypatch.setattr("ingest.embeddings.handler.decode", decoding)
    monkeypatch.setattr(Embedding, "_encode", encoding)
    before = FAULTS.labels("item-record")._value.get()
    for name in ("a", "unreadable", "poison", "b"):
        await shop.put(name)
    await shop.has_vector("a")
    await shop.has_vector("b")
    await shop.caught_up()
    reasons = sorted(dict(letter.headers)["recstream-reason"] for letter in await shop.letters())
    assert reasons == [b"fault", b"not_embedded"]
    assert FAULTS.labels("item-record")._value.get() >= before + 2
