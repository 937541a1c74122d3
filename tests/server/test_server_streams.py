"""Streams of a real server: what wakes them, what they send, and what remains after they end."""

import asyncio
from dataclasses import replace

import grpc
import pytest
import pytest_asyncio

from local.servers.ports import free_port
from profiles.times import timestamp
from recstream.client import Client
from recstream.client.frames import apply
from recstream.v1 import catalog_service_pb2, item_pb2, slate_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server.app import Server
from tests.server.streams import ids, next_frame, open_stream, put, record, until
from tests.server.world import ITEMS, World, event, eventually, now_ms, world
from topics.closing import close_client
from topics.producer import start_producer


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    async with world(kafka, valkey, prefix) as around:
        yield around


async def test_an_event_leads_to_a_frame_that_names_it_without_its_item(around: World) -> None:
    call = open_stream(around, "ann")
    first = await next_frame(call)
    assert first.sequence == 1 and not first.caused_by and len(ids(first)) == 10
    await record(around, "ann", ids(first)[0], event_id="e1")
    frame = await next_frame(call)
    assert frame.sequence == 2
    (cause,) = frame.caused_by
    assert cause.event_id == "e1" and cause.action == "like"
    assert cause.item_id == ids(first)[0] and cause.item_id not in ids(frame)
    assert frame.snapshot.slate.slate_id != first.snapshot.slate.slate_id


async def test_an_event_that_changes_nothing_is_still_named(around: World) -> None:
    call = open_stream(around, "ann", count=1, excluded_item_ids=ITEMS[1:])
    first = await next_frame(call)
    await record(around, "ann", "item-50", "view", event_id="v1")
    frame = await next_frame(call)
    assert ids(frame) == ids(first) == ["item-0"]
    assert [cause.event_id for cause in frame.caused_by] == ["v1"]


async def test_impressions_wake_no_stream(around: World) -> None:
    call = open_stream(around, "ann")
    await next_frame(call)
    await record(around, "ann", "item-5", "impression")
    await record(around, "ann", "item-6", "click", event_id="c1")
    frame = await next_frame(call)
    assert frame.sequence == 2 and [cause.event_id for cause in frame.caused_by] == ["c1"]


async def test_every_event_of_a_burst_is_named_by_some_frame(around: World) -> None:
    call = open_stream(around, "ann")
    await next_frame(call)
    waiting = {f"e{i}" for i in range(60)}
    await asyncio.gather(*(record(around, "ann", f"item-{i}", "view", event_id=f"e{i}") for i in range(60)))
    while waiting:
        waiting -= {cause.event_id for cause in (await next_frame(call)).caused_by}


async def test_applied_deltas_equal_the_snapshot(around: World) -> None:
    whole, parts = open_stream(around, "ann"), open_stream(around, "ann", deltas=True)
    await next_frame(whole)
    held = list((await next_frame(parts)).snapshot.slate.items)
    for i in range(5):
        await record(around, "ann", held[0].item_id, event_id=f"e{i}")
        shown = await until(whole, lambda frame, i=i: any(c.event_id == f"e{i}" for c in frame.caused_by))
        delta = await until(parts, lambda frame, i=i: any(c.event_id == f"e{i}" for c in frame.caused_by))
        held = list(apply(delta.delta, held))
        assert [item.item_id for item in held] == ids(shown)
        assert delta.delta.length == len(held) and not delta.delta.slate.items


async def test_a_resumed_stream_repeats_no_slate_and_a_stale_token_gets_a_snapshot(around: World) -> None:
    call = open_stream(around, "ann")
    first = await next_frame(call)
    call.cancel()
    call = open_stream(around, "ann", resume_token=first.resume_token)
    assert (await next_frame(call, beats=True)).HasField("heartbeat")
    await record(around, "ann", ids(first)[0])
    changed = await next_frame(call)
    assert changed.sequence == 2 and changed.caused_by
    call.cancel()
    call = open_stream(around, "ann", resume_token=first.resume_token)
    assert ids(await next_frame(call)) == ids(changed)


async def test_the_first_frame_after_a_break_names_the_events_that_came_meanwhile(around: World) -> None:
    await record(around, "ann", "item-1", event_id="before")
    call = open_stream(around, "ann", after_event_ids=["before"])
    first = await next_frame(call)
    call.cancel()
    shown = ids(first)[:2]
    tokens = [await record(around, "ann", item_id, event_id=f"at {item_id}") for item_id in shown]
    resumed = {"resume_token": first.resume_token, "deltas": True}
    call = open_stream(around, "ann", after=tokens, **resumed)
    frame = await next_frame(call)
    assert frame.sequence == 1 and frame.HasField("snapshot") and not set(shown) & set(ids(frame))
    assert {cause.event_id: cause.item_id for cause in frame.caused_by} == {
        f"at {item_id}": item_id for item_id in shown
    }
    call.cancel()
    # A list that is the same comes again for the events' sake, and the next time it does not.
    listed = {"count": 1, "excluded_item_ids": ITEMS[1:]}
    only = await next_frame(open_stream(around, "bob", **listed))
    seen = await record(around, "bob", "item-50", "view", event_id="seen")
    call = open_stream(around, "bob", resume_token=only.resume_token, after=[seen], **listed)
    frame = await next_frame(call)
    assert ids(frame) == ids(only) and [cause.event_id for cause in frame.caused_by] == ["seen"]
    call = open_stream(around, "bob", resume_token=frame.resume_token, **listed)
    assert (await next_frame(call, beats=True)).HasField("heartbeat")


async def test_a_resume_token_of_another_user_or_key_begins_with_a_snapshot(around: World) -> None:
    first = await next_frame(open_stream(around, "ann"))
    for user_id, token in (("bob", first.resume_token), ("ann", first.resume_token[:-1]), ("ann", "x")):
        frame = await next_frame(open_stream(around, user_id, resume_token=token), beats=True)
        assert frame.HasField("snapshot") and not frame.caused_by and not frame.HasField("includes_events")


async def test_the_first_list_includes_what_after_names_or_says_that_it_does_not(around: World) -> None:
    token = await record(around, "ann", "item-1", event_id="e1")
    for after in (
        {"after": [token]},
        {"after_event_ids": ["e1"]},
        {"after": [token], "after_event_ids": ["e1"]},
    ):
        frame = await next_frame(open_stream(around, "ann", count=len(ITEMS), **after))
        assert frame.HasField("includes_events") and frame.includes_events and "item-1" not in ids(frame)
    around.ingest.stalled = True
    later = await record(around, "ann", "item-2", event_id="e2")
    call = open_stream(around, "ann", count=len(ITEMS), after=[later], timeout=60)
    frame = await next_frame(call)
    assert frame.HasField("includes_events") and not frame.includes_events and "item-2" in ids(frame)
    around.ingest.stalled = False
    named = await until(call, lambda frame: frame.caused_by)
    assert [cause.event_id for cause in named.caused_by] == ["e2"] and not named.HasField("includes_events")


async def test_a_stream_with_a_bad_token_in_after_is_refused(around: World) -> None:
    of_bob = await record(around, "bob", "item-1")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await open_stream(around, "ann", after=[of_bob]).read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "another user" in (caught.value.details() or "")


async def test_silent_streams_get_heartbeats(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, heartbeat_seconds=0.1) as around:
        call = open_stream(around, "ann")
        frames = [await next_frame(call, beats=True) for _ in range(4)]
        assert [frame.sequence for frame in frames] == [1, 2, 3, 4]
        assert all(frame.HasField("heartbeat") and not frame.resume_token for frame in frames[1:])


async def test_a_withdrawn_item_leaves_every_open_list(around: World) -> None:
    calls = [open_stream(around, f"user-{i}") for i in range(20)]
    lists = [ids(await next_frame(call)) for call in calls]
    gone = lists[0][0]
    await around.catalog.WithdrawItems(catalog_service_pb2.WithdrawItemsRequest(item_ids=[gone]), timeout=20)
    for call, before in zip(calls, lists, strict=True):
        if gone in before:
            assert gone not in ids(await next_frame(call))
    answer = await around.recommendations.Recommend(rpc.RecommendRequest(user_id="x", count=100), timeout=20)
    assert gone not in {item.item_id for item in answer.slate.items}


async def test_if_many_streams_show_an_item_it_is_removed_first_and_lists_are_filled_up_later(
    kafka, valkey, prefix
) -> None:
    async with world(kafka, valkey, prefix, ranking_concurrency=1, stream_budget_ms=2000) as around:
        calls = [open_stream(around, f"user-{i}", excluded_item_ids=ITEMS[20:]) for i in range(10)]
        lists = [ids(await next_frame(call)) for call in calls]
        gone = next(item_id for item_id in ITEMS if all(item_id in shown for shown in lists))
        around.model.seconds = 0.1
        await around.catalog.WithdrawItems(
            catalog_service_pb2.WithdrawItemsRequest(item_ids=[gone]), timeout=20
        )
        shorter = 0
        for call in calls:
            frame = await next_frame(call)
            assert gone not in ids(frame)
            if len(ids(frame)) == 9:
                shorter += 1
                full = await next_frame(call)
                assert gone not in ids(full) and len(ids(full)) == 10
                assert full.snapshot.slate.slate_id != frame.snapshot.slate.slate_id
        assert shorter >= 5


async def test_an_expiring_item_leaves_the_list(around: World) -> None:
    first = await next_frame(open_stream(around, "ann"))
    expires_ms = now_ms() + 1500
    expiring = item_pb2.Item(item_id=ids(first)[0], title="soon gone", expires_at=timestamp(expires_ms))
    call = open_stream(around, "ann", excluded_item_ids=[ids(first)[1]])
    assert expiring.item_id in ids(await next_frame(call))
    await put(around, expiring)
    frame = await until(call, lambda frame: expiring.item_id not in ids(frame))
    late = now_ms() - expires_ms
    print(f"expired {late} ms after its date")
    assert late >= 0 and not frame.caused_by and len(ids(frame)) == 10


async def test_a_cancelled_stream_leaves_nothing_behind(around: World) -> None:
    async def tasks() -> int:
        await asyncio.sleep(0.05)
        return len(asyncio.all_tasks())

    before = await tasks()
    for moment in ("parked", "first", "at once"):
        calls = [open_stream(around, f"user-{i}", count=5) for i in range(50)]
        if moment == "parked":
            await asyncio.gather(*(next_frame(call) for call in calls))
        elif moment == "first":
            await asyncio.sleep(0.02)
        for call in calls:
            call.cancel()
        await asyncio.gather(*(call.wait_for_connection() for call in calls), return_exceptions=True)
        await eventually(lambda: around.server.admission.streams == 0)
        assert len(around.server.streams) == 0 and around.server.items.rows == 0
    del calls
    await eventually(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_draining_server_ends_streams_with_a_token_and_a_delay(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        calls = [open_stream(around, f"user-{i}") for i in range(30)]
        firsts = [await next_frame(call) for call in calls]
        draining = asyncio.create_task(around.server.drain())
        for call, first in zip(calls, firsts, strict=True):
            away = await next_frame(call)
            assert away.HasField("go_away") and away.go_away.HasField("reconnect_after")
            assert away.resume_token == first.resume_token and away.sequence == 2
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.wait_for(draining, 5)
        assert around.server.health.not_ready


async def test_during_draining_a_stream_continues_until_its_turn(kafka, valkey, prefix) -> None:
    slowly = {"drain_seconds": 10_000, "reconnect_spread_ms": 5_000_000}  # Two streams end 20 s apart.
    async with world(kafka, valkey, prefix, **slowly) as around:
        calls = {user: open_stream(around, user) for user in ("ann", "bob")}
        for call in calls.values():
            await next_frame(call)
        cut = asyncio.Event()
        draining = asyncio.create_task(around.server.drain(cut))
        frames = {user: asyncio.create_task(next_frame(call)) for user, call in calls.items()}
        (first,), (second,) = await asyncio.wait(frames.values(), return_when=asyncio.FIRST_COMPLETED)
        assert first.result().HasField("go_away")
        staying = next(user for user, task in frames.items() if task is second)
        acted = event(staying, "item-1", event_id="late")
        producer = await start_producer(around.kafka)
        try:
            topic = around.kafka.topics.interactions
            await producer.send_and_wait(topic, acted.SerializeToString(), staying.encode())
        finally:
            await close_client(producer, 5)
        assert [cause.event_id for cause in (await second).caused_by] == ["late"]
        cut.set()
        await asyncio.wait_for(draining, 30)


async def test_an_old_stream_is_sent_away_and_resumes(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, stream_max_age_seconds=1) as around:
        call = open_stream(around, "ann")
        first = await next_frame(call)
        away = await next_frame(call)
        assert away.HasField("go_away") and away.resume_token == first.resume_token
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        again = open_stream(around, "ann", resume_token=away.resume_token)
        assert (await next_frame(again, beats=True)).HasField("heartbeat")
        again.cancel()


async def test_a_server_that_is_added_later_gets_its_share_of_the_streams(kafka, valkey, prefix) -> None:
    port = free_port()
    async with world(kafka, valkey, prefix, stream_max_age_seconds=1) as around:
        config = around.server.config
        moved = replace(config, server=config.server.model_copy(update={"port": port}))
        lists = 0

        async def watch(client: Client, user_id: str) -> None:
            nonlocal lists
            async for _ in client.stream(user_id, count=5):
                lists += 1

        async with Client(f"ipv4:{around.target},127.0.0.1:{port}") as client, asyncio.TaskGroup() as readers:
            watching = [readers.create_task(watch(client, f"user-{i}")) for i in range(20)]
            await eventually(lambda: lists >= 20)
            added = Server(moved, around.model)
            await added.start()
            try:
                await eventually(lambda: added.admission.streams >= 5)
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.wait(watching)
                await added.close()
        assert all(task.cancelled() for task in watching)


async def test_the_tier_falls_while_the_model_is_down_and_recovers_by_itself(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, tier_recovery_seconds=0.2) as around:
        await record(around, "ann", "item-1")
        await record(around, "bob", "item-2")
        around.model.down = True
        calls = [open_stream(around, user) for user in ("ann", "bob")]
        for call in calls:
            assert (await next_frame(call)).snapshot.slate.tier != slate_pb2.TIER_RANKED
        around.model.down = False
        for call in calls:
            await until(call, lambda frame: frame.snapshot.slate.tier == slate_pb2.TIER_RANKED)
