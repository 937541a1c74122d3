"""Producers write events in the forms that they have, mixed on one topic. Profiles are the same as from plain ones."""

import asyncio
import json
import time

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from cli.app import app
from ingest import metrics
from profiles.times import timestamp
from recstream.v1.interaction_pb2 import Interaction
from telemetry.unknown_fields import UNKNOWN_FIELDS
from tests.ingest.world import T0, MakeWorld, World
from tests.profiles.test_profiles_wire import FORMS

ACTIONS = ("view", "like", "rate", "impression", "purchase", "undo")


def shop_events(user: str) -> list[Interaction]:
    events = []
    for number, action in enumerate(ACTIONS * 3):
        event = Interaction(
            event_id=f"e{number}", user_id=user, event_time=timestamp(T0 + number), slate_id="s"
        )
        if action == "undo":
            event.undo.event_id = "e1"
        elif action == "impression":
            event.impression.item_ids.extend([f"item-{number}", f"other-{number}"])
        else:
            event.item_id, event.action = f"item-{number}", action
            if action == "rate":
                event.value = 4.5
        events.append(event)
    return events


async def test_profiles_are_the_same_from_each_wire_form(make_world: MakeWorld) -> None:
    world = await make_world(partitions=1)
    await world.start()
    forms = list(FORMS.values())
    for number, (event, plain) in enumerate(zip(shop_events("ann"), shop_events("bob"), strict=True)):
        value, headers = forms[number % len(forms)](event)
        await world.send_raw(value, headers=headers)
        await world.send_raw(plain.SerializeToString())
    await world.caught_up()
    ann, bob = await world.profile("ann"), await world.profile("bob")
    assert ann is not None and bob is not None
    kept = [
        (entry.event_id, entry.item_id, entry.action, entry.time_ms, entry.value) for entry in bob.history
    ]
    assert len(kept) > 10
    assert [(e.event_id, e.item_id, e.action, e.time_ms, e.value) for e in ann.history] == kept
    assert [i.item_ids for i in ann.impressions] == [i.item_ids for i in bob.impressions]
    assert ann.totals == bob.totals
    assert (await world.verified()).equal


async def test_unknown_fields_are_counted_and_each_name_is_logged_once(world: World) -> None:
    before = UNKNOWN_FIELDS.labels("Interaction")._value.get()
    with capture_logs() as logs:
        await world.start()
        for number in range(3):
            text = '{"id":"c%d","userId":"ann","itemId":"%d","action":"click","page":1,"eventTime":%d}'
            await world.send_raw((text % (number, number, T0 + number)).encode())
        await world.caught_up()
    assert await world.history("ann") == ["0", "1", "2"]
    assert UNKNOWN_FIELDS.labels("Interaction")._value.get() - before == 3
    assert [line["field"] for line in logs if line["event"] == "unknown_field"] == ["id", "page"]


async def test_a_kind_of_a_later_release_is_passed_over_and_stops_nothing(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than dead letters may be in a row: an older ingest runs on while producers are newer."""
    monkeypatch.setattr("ingest.consuming.dead_letters._UNUSABLE_SECONDS", 0.0)
    world = await make_world(dead_letters_in_a_row=2)
    before = metrics.RECORDS_OF["later_kind"]._value.get()
    await world.start()
    for number in range(5):
        await world.send_raw(b'{"userId":"ann","merge":{"from":"bob-%d"}}' % number)
        await world.send_raw(Interaction(user_id="eve").SerializeToString() + b"\xfa\x01\x02ab")
    await world.send("ann", "a")
    await world.caught_up()
    assert await world.history("ann") == ["a"]
    assert metrics.RECORDS_OF["later_kind"]._value.get() - before == 10
    assert await world.records(world.kafka.topics.interactions_dead_letter) == []
    assert (await world.verified()).equal


async def test_an_event_without_a_time_and_one_from_a_wrong_clock_have_the_time_of_their_record(
    world: World,
) -> None:
    before = metrics.CLOCKS_AHEAD._value.get()
    await world.start()
    ahead = int(time.time() * 1000) + 86_400_000
    sent = [
        await world.send_raw(b'{"userId":"ann","itemId":"a","action":"click"}'),
        await world.send("ann", "b", at=ahead),
    ]
    await world.caught_up()
    profile = await world.profile("ann")
    assert profile is not None
    assert [entry.time_ms for entry in profile.history] == [record.timestamp for record in sent]
    assert metrics.CLOCKS_AHEAD._value.get() - before == 1


def segment_order(number: int, items: int) -> bytes:
    products = [{"product_id": f"item-{number}-{place}"} for place in range(items)]
    order = {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m-{number}",
        "userId": f"user-{number % 3}",
        "timestamp": timestamp(T0 + number).ToJsonString(),
        "properties": {"products": products},
    }
    return json.dumps(order).encode()


async def test_orders_of_segment_count_each_product_once_however_often_their_records_are_read(
    make_world: MakeWorld,
) -> None:
    world = await make_world(partitions=2, mappings=["segment"], batch_records=4)
    worker = await world.start()
    for number in range(30):
        await world.send_raw(segment_order(number, 1 + number % 4), partition=number % 2)
        await world.send_raw(b'{"type":"page","messageId":"p-%d","userId":"user-0"}' % number)
        if number == 15:
            await worker.kill()  # Its last commits are missing, so the next one reads records again.
            worker = await world.start()
    await world.send_raw(b'{"type":"track","messageId":"x","userId":"user-0","event":"Order Completed"}')
    await world.caught_up()
    expected = {f"user-{n}": sum(1 + number % 4 for number in range(n, 30, 3)) for n in range(3)}
    for user, count in expected.items():
        profile = await world.profile(user)
        assert profile is not None and profile.totals == {"purchase": count}
        assert profile.events == count
    letters = await world.records(world.kafka.topics.interactions_dead_letter)
    details = [dict(letter.headers)["recstream-detail"].decode() for letter in letters]
    assert len(details) == 1 and details[0].startswith("mapping segment, element 0: item_id is missing")
    assert (await world.verified()).equal


async def test_a_command_tells_what_ingest_makes_of_a_topic(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(partitions=2)
    await world.send("ann", "a")
    await world.send("ann", "b", action="devour")
    await world.send_raw(b"\x00\x00\x00\x00\x09\x02\x06\x08abc")
    monkeypatch.setenv("RECSTREAM_KAFKA__BOOTSTRAP", world.kafka.bootstrap)
    asked = ["events", "check", "--json", world.kafka.topics.interactions]
    answer = await asyncio.to_thread(CliRunner().invoke, app, asked)
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert (found["records"], found["actions"]) == (3, {"click": 1})
    assert found["unknown_actions"] == {"devour": 1}
    assert found["refused"] == {"not_protobuf": 1}
    assert "schema 9" in found["examples"]["not_protobuf"][0]["detail"]
    assert found["examples"]["not_protobuf"][0]["place"].startswith("partition ")
    answer = await asyncio.to_thread(CliRunner().invoke, app, ["events", "check", "no-such-topic"])
    assert answer.exit_code == 1 and "neither a file here nor a topic" in str(answer.exception)
