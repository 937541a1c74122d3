"""Ingest stops and says so if a topic was recreated, has lost records, or keeps records too briefly."""

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from ingest.adopt import Adopt, adopt
from profiles.actions import ProfileSettings
from tests.ingest.world import T0, MakeWorld, Worker, World, until
from topics.check import check_topics
from topics.create import create_topics
from topics.errors import TopicMissing
from topics.ids import topic_ids


async def lacking(worker: Worker, words: str) -> None:
    async def says_so() -> bool:
        return words in worker.health.not_ready.get("interactions", "")

    await until(says_so)


async def make_anew(world: World) -> None:
    admin = AIOKafkaAdminClient(**world.kafka.client_options())
    await admin.start()
    try:
        await admin.delete_topics([world.kafka.topics.interactions])
    finally:
        await admin.close()

    name = world.kafka.topics.interactions

    async def made() -> bool:
        await create_topics(world.kafka, world.profiles.time_to_live_days)
        try:
            found = await topic_ids(world.kafka, [name])
        except TopicMissing:
            return False
        if found[name] == world.topic_id:
            return False
        world.topic_id = found[name]
        return True

    await until(made)


async def test_a_recreated_topic_stops_ingest_until_an_operator_keeps_the_profiles(
    make_world: MakeWorld,
) -> None:
    world = await make_world(partitions=1)
    worker = await world.start()
    await world.send("ann", "a")
    await world.send("ann", "b", at=T0 + 1)
    await world.caught_up()
    await worker.stop()
    await make_anew(world)
    await world.send("ann", "c", at=T0 + 2)
    worker = await world.start()
    await lacking(worker, "recreated")
    assert await world.history("ann") == ["a", "b"]
    done = await adopt(world.kafka, world.store, Adopt.KEEP)
    assert done.topic_id == world.topic_id
    assert done.profiles_deleted == 0
    await world.caught_up()
    assert await world.history("ann") == ["a", "b", "c"]
    assert (await world.verified()).earlier_topic == 1


async def test_a_running_ingest_notices_a_recreated_topic_and_reset_reads_it_from_the_start(
    make_world: MakeWorld,
) -> None:
    world = await make_world(partitions=1)
    worker = await world.start()
    await world.send("ann", "a")
    await world.caught_up()
    await make_anew(world)
    await lacking(worker, "recreated")
    await world.send("ann", "b", at=T0 + 1)
    done = await adopt(world.kafka, world.store, Adopt.RESET)
    assert done.profiles_deleted == 1
    await world.caught_up()
    assert await world.history("ann") == ["b"]
    assert (await world.verified()).equal


async def test_records_deleted_before_they_were_read_stop_ingest_and_are_counted(
    make_world: MakeWorld,
) -> None:
    world = await make_world(partitions=1)
    worker = await world.start()
    await world.send("ann", "a")
    await world.caught_up()
    await worker.stop()
    for n in range(5):
        await world.send("ann", f"i{n}", at=T0 + 1 + n)
    admin = AIOKafkaAdminClient(**world.kafka.client_options())
    await admin.start()
    try:
        partition = TopicPartition(world.kafka.topics.interactions, 0)
        await admin.delete_records({partition: RecordsToDelete(before_offset=4)})
    finally:
        await admin.close()
    worker = await world.start()
    await lacking(worker, "3 records were deleted")
    assert await world.history("ann") == ["a"]
    await adopt(world.kafka, world.store, Adopt.KEEP)
    await world.caught_up()
    assert await world.history("ann") == ["a", "i3", "i4"]
    report = await world.verified()
    assert not report.whole
    assert report.equal, report.differences


async def test_a_topic_with_a_shorter_retention_than_profiles_is_refused(
    make_world: MakeWorld,
) -> None:
    world = await make_world(profiles=ProfileSettings(history=8, refold_every=4, time_to_live_days=30))
    client = AdminClient(world.kafka.admin_options())

    async def keep(days: int) -> None:
        entry = ConfigEntry(
            "retention.ms", str(days * 86_400_000), incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(
            ResourceType.TOPIC, world.kafka.topics.interactions, incremental_configs=[entry]
        )
        client.incremental_alter_configs([resource])[resource].result(timeout=10)

        async def known() -> bool:
            return bool(await check_topics(world.kafka, 30)) == (days < 30)

        await until(known)

    await keep(7)
    worker = await world.start()
    await lacking(worker, "retention.ms")
    await world.send("ann", "a")
    await keep(31)
    await world.caught_up()
    assert await world.history("ann") == ["a"]
