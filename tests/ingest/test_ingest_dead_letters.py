"""Records that cannot be used become dead letters with their reason. Ingest stops only if no record can be used."""

import json
import time
from collections import Counter
from collections.abc import Callable

import pytest
from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from google.protobuf.timestamp_pb2 import Timestamp
from structlog.testing import capture_logs

from ingest import metrics
from ingest.consuming.dead_letters import PAYLOAD_LIMIT, DeadLetter, DeadLetters
from ingest.errors import TooManyDeadLetters
from profiles.times import timestamp
from recstream.v1.interaction_pb2 import Interaction
from tests.ingest.world import T0, MakeWorld, World, until


def reason(letter: ConsumerRecord) -> str:
    return str(dict(letter.headers)["recstream-reason"], "ascii")


async def letters(world: World) -> list[ConsumerRecord]:
    return await world.records(world.kafka.topics.interactions_dead_letter)


async def test_bad_records_are_kept_with_their_reason_and_their_neighbours_applied(
    make_world: MakeWorld,
) -> None:
    world = await make_world(partitions=1)
    worker = await world.start()
    await world.send("ann", "a", at=T0)
    await world.send_raw(b"\xff\xff\xff", key=b"ann")
    await world.send_raw(None, key=b"ann")
    await world.send_raw(b"", key=b"ann")
    await world.send_raw(b'{"userId": ', key=b"ann")
    await world.send_raw(
        Interaction(user_id="ann", item_id="x", action="click", event_time=timestamp(T0))
        .SerializeToString()
        .replace(b"x", b"\xae"),
        key=b"ann",
    )
    await world.send("ann", "b", action="undo", at=T0)
    await world.send("ann", "c", at=T0 + 1)
    last = await world.send_raw(b"\xff", key=b"ann")
    await world.caught_up()
    await worker.stop()
    assert await world.history("ann") == ["a", "c"]
    found = await letters(world)
    assert {letter.key.decode().rsplit("-", 1)[1]: reason(letter) for letter in found} == {
        "1": "not_protobuf",
        "2": "no_value",
        "3": "user_id",
        "4": "not_json",
        "5": "not_protobuf",
        "6": "action",
        "8": "not_protobuf",
    }
    assert found[0].key.decode() == f"{world.kafka.topics.interactions}-0-1"
    assert dict(found[0].headers)["recstream-topic-id"].decode() == world.topic_id.hex()
    # A restart before any other record arrives adds none.
    await world.start()
    await world.send("ann", "d", at=T0 + 2)
    await world.caught_up()
    assert len(await letters(world)) == 7
    assert last.offset == 8
    assert (await world.verified()).equal


async def test_impossible_times_are_refused_with_a_reason(world: World) -> None:
    await world.start()
    now = int(time.time())
    early = [now, 0, -1, -62_000_000_000_000]
    for at in early:
        await world.send("ann", f"at {at}", at=at)
    no_times = [Timestamp(seconds=253_402_300_800), Timestamp(seconds=2**63 - 1), Timestamp(nanos=-1)]
    for no_time in no_times:
        event = Interaction(user_id="ann", item_id="x", action="click", event_time=no_time)
        await world.send_raw(event.SerializeToString())
    units = [now * 10**6, now * 10**9, 253_402_300_800_000, 2**63 - 1]
    for at in units:
        await world.send_raw(b'{"userId":"ann","itemId":"x","action":"click","eventTime":%d}' % at)
    await world.send("ann", "good", at=now * 1000)
    await world.caught_up()
    assert await world.history("ann") == ["good"]
    reasons = Counter(reason(letter) for letter in await letters(world))
    assert reasons == {"event_time": len(early) + len(no_times), "not_json": len(units)}


async def test_ids_that_come_from_client_bugs_make_no_profile(world: World) -> None:
    await world.start()
    bad = ["", " ", "null", "undefined", "NaN", "None", "[object Object]"]
    for user in bad:
        await world.send(user, "a")
    await world.send("anonymous", "a")
    await world.caught_up()
    assert [await world.profile(user) for user in bad if user] == [None] * (len(bad) - 1)
    assert await world.history("anonymous") == ["a"]
    assert {reason(letter) for letter in await letters(world)} == {"user_id"}


async def test_a_letter_that_is_sent_again_and_fails_again_does_not_grow(make_world: MakeWorld) -> None:
    world = await make_world(partitions=1)
    await world.start()
    await world.send_raw(b"\xff" * 900_000, key=b"ann")
    await world.caught_up()
    sizes = set()
    for round_ in range(5):
        letter = (await letters(world))[-1]
        sizes.add((len(letter.value), len(letter.headers)))
        await world.producer.send_and_wait(
            world.kafka.topics.interactions, letter.value, key=letter.key, headers=list(letter.headers)
        )
        await world.caught_up()
        assert len(await letters(world)) == round_ + 2
    assert max(size for size, _ in sizes) == PAYLOAD_LIMIT
    assert max(count for _, count in sizes) <= 10


def letter(offset: int) -> DeadLetter:
    record = ConsumerRecord("interactions", 0, offset, 0, 0, b"ann", b"\xff", None, 1, 1, ())
    return DeadLetter(record, b"t" * 16, "not_protobuf", "")


def limited(clock: Callable[[], float]) -> DeadLetters:
    return DeadLetters(None, "interactions.dead-letter", "interactions", 5, clock)


def test_ingest_stops_when_for_a_minute_no_record_could_be_used() -> None:
    now = 100.0
    counted = limited(lambda: now)
    counted.admit([letter(n) for n in range(1_000)], 0)
    now += 59.9
    counted.admit([letter(1_000)], 0)
    now += 0.1
    with pytest.raises(TooManyDeadLetters, match="none of the last 1002 records"):
        counted.admit([letter(1_001)], 0)


def test_a_few_bad_records_stop_nothing_however_quiet_it_is() -> None:
    now = 100.0
    counted = limited(lambda: now)
    for n in range(5):
        counted.admit([letter(n)], 0)
        counted.admit([letter(n)], 0)  # A batch that is tried again counts once.
        now += 3600
    with pytest.raises(TooManyDeadLetters):
        counted.admit([letter(5)], 0)


def test_a_flood_from_one_producer_stops_nothing_while_another_sends_usable_records() -> None:
    now = 100.0
    counted = limited(lambda: now)
    for batch in range(100):
        counted.admit([letter(batch * 1_000 + n) for n in range(1_000)], 1 if batch % 5 == 0 else 0)
        now += 10


async def test_between_a_flood_of_bad_records_the_events_of_others_are_applied(
    make_world: MakeWorld,
) -> None:
    world = await make_world(partitions=1, dead_letters_in_a_row=50, batch_records=20)
    for n in range(300):
        if n % 100 == 50:
            await world.send("bob", f"item-{n}", at=T0 + n)
        await world.producer.send(world.kafka.topics.interactions, b"\xff", key=b"ann")
    await world.producer.flush()
    worker = await world.start()
    await world.caught_up()
    assert worker.health.ready
    assert await world.history("bob") == ["item-50", "item-150", "item-250"]
    assert len(await letters(world)) == 300


async def test_a_flood_of_unknown_actions_stops_nothing(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else for a minute, and more than dead letters may be in a row: they are no fault of ours."""
    monkeypatch.setattr("ingest.consuming.dead_letters._UNUSABLE_SECONDS", 0.0)
    world = await make_world(partitions=1, dead_letters_in_a_row=10, batch_records=20)
    before = metrics.RECORDS_OF["unknown_action"]._value.get()
    with capture_logs() as logs:
        await world.send("bob", "a", at=T0)
        for n in range(300):
            text = json.dumps({"userId": "ann", "itemId": str(n), "action": ("devour", "ogle")[n % 2]})
            await world.producer.send(world.kafka.topics.interactions, text.encode(), key=b"ann")
        await world.producer.flush()
        last = await world.send("bob", "b", at=T0 + 1)
        worker = await world.start()
        await world.caught_up()
    assert worker.health.ready
    assert await world.history("bob") == ["a", "b"]
    ann = await world.profile("ann")
    assert ann is not None and not ann.history and not ann.totals and ann.events == 0
    assert ann.watermarks == {(world.topic_id, 0): last.offset - 1}
    assert metrics.RECORDS_OF["unknown_action"]._value.get() - before == 300
    assert sorted(line["action"] for line in logs if line["event"] == "unknown_action") == ["devour", "ogle"]
    assert await letters(world) == []
    assert (await world.verified()).equal


async def test_while_no_record_can_be_used_later_ones_are_not_committed(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.consuming.dead_letters._UNUSABLE_SECONDS", 0.0)
    world = await make_world(partitions=1, dead_letters_in_a_row=50, batch_records=20)
    await world.send("ann", "a")
    for _ in range(200):
        await world.producer.send(world.kafka.topics.interactions, b"\xff", key=b"ann")
    await world.producer.flush()
    await world.send("ann", "b", at=T0 + 1)
    worker = await world.start()

    async def halted() -> bool:
        return "none of the last" in worker.health.not_ready.get("interactions", "")

    await until(halted)
    assert not worker.health.ready
    assert len(await letters(world)) <= 70  # The limit, and the batch that had a usable record.
    assert await world.lag() >= 130
    assert await world.history("ann") == ["a"]


async def test_without_a_dead_letter_topic_no_record_is_skipped(make_world: MakeWorld) -> None:
    world = await make_world(partitions=1)
    admin = AIOKafkaAdminClient(**world.kafka.client_options())
    await admin.start()
    try:
        await admin.delete_topics([world.kafka.topics.interactions_dead_letter])
    finally:
        await admin.close()
    await world.send("ann", "a")
    await world.send_raw(b"\xff", key=b"ann")
    await world.send("ann", "b", at=T0 + 1)
    worker = await world.start()

    async def says_so() -> bool:
        return "dead-letter topic" in worker.health.not_ready.get("interactions", "")

    await until(says_so)
    assert await world.lag() == 3
    from topics.create import create_topics

    await create_topics(world.kafka, world.profiles.time_to_live_days)
    await world.caught_up()
    assert await world.history("ann") == ["a", "b"]
    assert len(await letters(world)) == 1
    assert worker.health.ready


async def test_a_refused_record_of_a_certain_user_still_moves_the_watermark(make_world: MakeWorld) -> None:
    world = await make_world(partitions=1)
    await world.start()
    await world.send_raw(json.dumps({"userId": "ann", "itemId": "a", "action": "undo"}).encode())
    await world.caught_up()
    profile = await world.profile("ann")
    assert profile is not None
    assert profile.watermarks == {(world.topic_id, 0): 0}
    assert profile.history == ()
