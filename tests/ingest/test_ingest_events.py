"""Each event counts once, whatever its order and partition."""

import random

from profiles.times import timestamp
from recstream.v1.interaction_pb2 import Interaction
from tests.ingest.world import T0, World, until


async def test_the_same_event_three_times_counts_once(world: World) -> None:
    await world.start()
    for _ in range(3):
        await world.send("ann", "a", event_id="e1")
    await world.send("ann", "b", event_id="e2", at=T0 + 1)
    await world.caught_up()
    assert await world.history("ann") == ["a", "b"]
    assert await world.clicks("ann") == 2


async def test_order_of_arrival_makes_no_difference(world: World) -> None:
    # ann's events come in one batch, newest first, bob's in three batches, oldest first, and cid's in two batches.
    for at, item in ((20, "c"), (10, "b"), (0, "a")):
        await world.send("ann", item, event_id=f"ann-{item}", at=T0 + at)
    await world.start()
    await world.caught_up()
    for at, item in ((0, "a"), (10, "b"), (20, "c")):
        await world.send("bob", item, event_id=f"bob-{item}", at=T0 + at)
        await world.caught_up()
    await world.send("cid", "b", event_id="cid-b", at=T0 + 10)
    await world.send("cid", "c", event_id="cid-c", at=T0 + 20)
    await world.caught_up()
    await world.send("cid", "a", event_id="cid-a", at=T0)
    await world.caught_up()
    ann, bob, cid = [await world.profile(user) for user in ("ann", "bob", "cid")]
    assert ann is not None
    assert bob is not None
    assert cid is not None
    for other in (bob, cid):
        assert [(e.item_id, e.time_ms) for e in other.history] == [
            (e.item_id, e.time_ms) for e in ann.history
        ]
        assert other.totals == ann.totals
        assert other.states == ann.states
    assert [e.item_id for e in ann.history] == ["a", "b", "c"]
    assert not ann.states[0].stale


async def test_events_of_one_user_on_two_partitions_are_all_counted(world: World) -> None:
    await world.start()
    await world.start()
    events = [
        Interaction(
            event_id=f"e{n}", user_id="ann", item_id=f"i{n}", action="click", event_time=timestamp(T0 + n)
        )
        for n in range(400)
    ]
    random.Random(7).shuffle(events)
    await world.send_many(events, lambda place: place % 2)
    await world.caught_up()
    assert await world.clicks("ann") == 400
    assert await world.history("ann") == [f"i{n}" for n in range(400 - 12, 400)]
    report = await world.verified()
    assert report.equal, report.differences
    assert report.states_compared == 1


async def test_a_null_key_event_lands_in_its_user_s_profile(world: World) -> None:
    await world.start()
    event = Interaction(user_id="ann", item_id="a", action="click", event_time=timestamp(T0))
    await world.send_raw(event.SerializeToString(), key=None)
    await world.send_raw(
        f'{{"userId": "ann", "itemId": "b", "action": "click", "eventTimeMs": "{T0 + 1}"}}'.encode(), key=None
    )
    await world.caught_up()
    assert await world.history("ann") == ["a", "b"]


async def test_a_click_advances_the_state_by_one_step(world: World) -> None:
    await world.start()
    await world.send("ann", "a", at=T0)
    await world.caught_up()
    folds = world.model.folds
    await world.send("ann", "b", at=T0 + 1)
    await world.caught_up()
    assert world.model.steps == 1
    assert world.model.folds == folds
    assert (await world.verified()).equal


async def test_taken_items_go_to_the_tail_when_the_history_is_full(world: World) -> None:
    await world.start()
    for n in range(20):
        await world.send("ann", f"i{n}", action="purchase", at=T0 + n)
    await world.caught_up()
    tail = (await world.store.read_tails(["ann"]))[0]
    assert tail is not None
    assert all(tail.contains(f"i{n}") for n in range(8))
    assert not tail.contains("i19")
    report = await world.verified()
    assert report.equal, report.differences


async def test_a_very_active_user_stays_within_the_history_bound(world: World) -> None:
    await world.start()
    events = [
        Interaction(user_id="hot", item_id=f"i{n}", action="click", event_time=timestamp(T0 + n))
        for n in range(3000)
    ]
    await world.send_many(events, lambda place: place % 2)
    await world.send("ann", "a")
    await world.caught_up()
    hot = await world.profile("hot")
    assert hot is not None
    assert len(hot.history) == 12
    assert hot.totals == {"click": 3000}
    assert await world.history("ann") == ["a"]


async def test_an_undo_removes_its_event_from_history_and_model_state(world: World) -> None:
    await world.start()
    await world.send("ann", "a", event_id="e1", at=T0)
    await world.caught_up()
    alone = await world.profile("ann")
    await world.send("ann", "b", event_id="e2", at=T0 + 1)
    await world.send("ann", undo="e2", at=T0 + 2)
    await world.caught_up()
    profile = await world.profile("ann")
    assert alone is not None
    assert profile is not None
    assert profile.states == alone.states


async def test_two_members_that_join_and_leave_lose_and_repeat_nothing(world: World) -> None:
    first = await world.start()
    sent = 0

    async def some(count: int) -> None:
        nonlocal sent
        await world.send_many(
            [
                Interaction(
                    event_id=f"e{n}",
                    user_id=f"u{n % 5}",
                    item_id=f"i{n}",
                    action="click",
                    event_time=timestamp(T0 + n),
                )
                for n in range(sent, sent + count)
            ],
            lambda place: place % 2,
        )
        sent += count

    await some(200)
    second = await world.start()
    await some(200)
    await first.stop()
    await some(200)
    third = await world.start()
    await some(200)
    await second.kill()
    await some(200)
    await world.caught_up()
    assert third.health.ready
    assert sum([await world.clicks(f"u{n}") for n in range(5)]) == sent
    report = await world.verified()
    assert report.equal, report.differences


async def test_nothing_is_lost_when_the_topic_is_read_again_from_the_start(world: World) -> None:
    worker = await world.start()
    for n in range(30):
        await world.send(f"u{n % 3}", f"i{n}", at=T0 + n)
    await world.caught_up()
    before = {f"u{n}": await world.profile(f"u{n}") for n in range(3)}
    await worker.stop()
    from ingest.consuming.groups import interactions_group
    from ingest.consuming.offsets import rewind_group

    await rewind_group(world.kafka, interactions_group(world.kafka), world.kafka.topics.interactions)
    assert await world.lag() == 30
    await world.start()
    await world.caught_up()
    assert {user: await world.profile(user) for user in before} == before


async def test_a_worker_is_ready_once_it_works(world: World) -> None:
    worker = await world.start()

    async def ready() -> bool:
        return worker.health.ready

    await until(ready)
