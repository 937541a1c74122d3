"""Positive events are counted once, by item, hour and day, whatever happens to the workers."""

import asyncio

import pytest
from aiokafka.client import AIOKafkaClient

from catalog.popularity.stats import HOUR_MS
from catalog.records import stats_key
from ingest.statistics.reset import reset_statistics
from profiles.times import timestamp
from recstream.storage.v1.catalog_pb2 import ItemStats
from recstream.v1.interaction_pb2 import Interaction
from tests.ingest.counting import all_counted, positives, read_catalogue, start_counting
from tests.ingest.world import T0, World


async def test_only_positive_actions_count_and_partitions_add_up(world: World) -> None:
    running = start_counting(world)
    for partition in (0, 1, 1):
        await world.send("ann", "a", partition=partition)
    await world.send("ann", "a/b", action="rate", value=5.0)
    await world.send("ann", "a", action="rate", value=2.0)
    await world.send("ann", "a", action="dislike")
    await world.send("ann", "a", action="impression")
    await world.send_raw(b"\xff")
    await all_counted(world)
    await running.stop()
    assert await positives(world) == {"a": 3, "a/b": 1}


async def test_counts_are_exact_while_workers_join_leave_and_die(world: World) -> None:
    sent = 0

    async def some(count: int) -> None:
        nonlocal sent
        await world.send_many(
            [
                Interaction(
                    user_id="u",
                    item_id=f"i{n % 7}",
                    action="click",
                    event_time=timestamp(T0 - n % 3 * HOUR_MS),
                )
                for n in range(count)
            ],
            lambda place: place % 2,
        )
        sent += count

    first = start_counting(world)
    await some(300)
    second = start_counting(world)
    await some(300)
    await first.kill()
    await some(300)
    third = start_counting(world)
    await some(300)
    await second.kill()
    await some(300)
    await all_counted(world)
    await third.stop()
    assert sum((await positives(world)).values()) == sent


@pytest.mark.parametrize("nth", range(4))
async def test_a_worker_ends_even_if_it_is_cancelled_while_a_client_closes(
    world: World, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    closed = 0
    close = AIOKafkaClient.close
    running = start_counting(world)

    async def cancelling(client: AIOKafkaClient) -> None:
        nonlocal closed
        if closed == nth:
            asyncio.get_running_loop().call_soon(running.task.cancel)
        closed += 1
        await close(client)

    monkeypatch.setattr(AIOKafkaClient, "close", cancelling)
    done, _ = await asyncio.wait({running.task}, timeout=20)
    assert done


async def test_a_worker_continues_from_the_existing_counts(world: World) -> None:
    for _ in range(3):
        running = start_counting(world)
        await world.send("ann", "a", partition=0)
        await all_counted(world)
        await running.stop()
    assert await positives(world) == {"a": 3}
    assert await reset_statistics(world.kafka) == 1
    assert (await positives(world)).get("a", 0) == 0


@pytest.mark.parametrize(
    "value", [b"\xff", ItemStats(positives=9, days=[1, 2], day_counts=[1]).SerializeToString()]
)
async def test_counts_that_cannot_be_read_keep_nobody_from_counting(world: World, value: bytes) -> None:
    """KAFKA-8037: what cannot be read was skipped as it came, and restored into the state, where the item's next event
    met it; nothing of the partition was counted any more."""
    topic = world.kafka.topics.item_stats
    await world.producer.send_and_wait(topic, value, key=stats_key(0, "a"), partition=0)
    running = start_counting(world)
    await world.send("ann", "a", partition=0)
    await world.send("ann", "b", partition=0)
    await all_counted(world)
    await running.stop()
    assert await positives(world) == {"a": 1, "b": 1}


async def test_a_busy_item_keeps_counts_older_than_its_newest_hours(world: World) -> None:
    hours = 24 * 10

    def clicks(first: int) -> list[Interaction]:
        return [
            Interaction(user_id="u", item_id="a", action="click", event_time=timestamp(T0 - HOUR_MS * n))
            for n in range(first, hours, 2)
        ]

    for first in (1, 0):  # The second half of them is late, and another worker counts it.
        running = start_counting(world)
        await world.send_many(clicks(first), lambda place: place % 2)
        await all_counted(world)
        await running.stop()
    catalog = await read_catalogue(world)
    assert catalog.positives.tolist() == [hours]
    exact = sum(2 ** (-n / 24 / 14) for n in range(hours))
    assert catalog.popularity(T0, 14 * 86_400)[0] == pytest.approx(exact, rel=0.01)


async def test_items_beyond_the_bound_are_not_counted(world: World) -> None:
    world.settings = world.settings.model_copy(update={"statistics_keys": 2})
    running = start_counting(world)
    for n in range(5):
        await world.send("ann", f"i{n}", partition=0)
        await world.send("ann", "i0", partition=0)
    await all_counted(world)
    await running.stop()
    assert await positives(world) == {"i0": 6, "i1": 1}
