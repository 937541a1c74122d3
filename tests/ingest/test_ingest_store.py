"""The store goes away, comes back, and comes back without its last seconds."""

import asyncio
import shutil

import pytest

from local.servers.valkey import EmbeddedValkey
from tests.ingest.world import T0, MakeWorld, Worker, until


async def ready(worker: Worker) -> None:
    async def is_ready() -> bool:
        return worker.health.ready

    await until(is_ready)


async def test_a_store_that_is_killed_in_the_middle_loses_nothing(
    make_world: MakeWorld, own_valkey: EmbeddedValkey
) -> None:
    world = await make_world(store_address=own_valkey.address)
    worker = await world.start()
    for n in range(100):
        await world.send(f"u{n % 4}", f"i{n}", at=T0 + n)
        if n == 40:
            own_valkey.kill()
        if n == 70:
            assert await world.lag() > 0
            await own_valkey.start()
    await world.caught_up()
    assert sum([await world.clicks(f"u{n}") for n in range(4)]) == 100
    await ready(worker)
    report = await world.verified(wait=10.0)
    assert report.equal, report.differences


async def test_while_the_store_is_away_ingest_waits_unready_and_commits_nothing(
    make_world: MakeWorld, own_valkey: EmbeddedValkey
) -> None:
    world = await make_world(store_address=own_valkey.address)
    worker = await world.start()
    await world.send("ann", "a")
    await world.caught_up()
    own_valkey.kill()
    await world.send("ann", "b", at=T0 + 1)

    async def unready() -> bool:
        return not worker.health.ready

    await until(unready)
    assert await world.lag() == 1
    assert not worker.task.done()
    await own_valkey.start()
    await world.caught_up()
    await ready(worker)
    assert await world.history("ann") == ["a", "b"]


@pytest.mark.parametrize("running", [True, False], ids=["while ingest runs", "while ingest is stopped"])
async def test_events_that_the_store_lost_are_applied_again(
    make_world: MakeWorld, own_valkey: EmbeddedValkey, running: bool
) -> None:
    world = await make_world(store_address=own_valkey.address, partitions=1)
    worker = await world.start()
    for n in range(10):
        await world.send("ann", f"i{n}", at=T0 + n)
    await world.caught_up()
    await asyncio.sleep(1.5)  # The append-only file is flushed every second.
    shutil.copytree(own_valkey.folder / "data", own_valkey.folder / "copy")
    for n in range(10, 20):
        await world.send("ann", f"i{n}", at=T0 + n)
    await world.caught_up()
    if not running:
        await worker.stop()
    own_valkey.kill()
    shutil.rmtree(own_valkey.folder / "data")
    shutil.copytree(own_valkey.folder / "copy", own_valkey.folder / "data")
    await own_valkey.start()
    # A later event must not move the watermark past the missing events.
    await world.send("ann", "i20", at=T0 + 20)
    if not running:
        await world.start()

    async def whole() -> bool:
        return await world.clicks("ann") == 21

    await until(whole)
    await world.caught_up()
    assert (await world.history("ann"))[-1] == "i20"
    report = await world.verified(wait=10.0)
    assert report.equal, report.differences


async def test_an_emptied_store_is_not_mistaken_for_a_new_installation(
    make_world: MakeWorld, own_valkey: EmbeddedValkey
) -> None:
    world = await make_world(store_address=own_valkey.address)
    worker = await world.start()
    await world.send("ann", "a")
    await world.caught_up()
    own_valkey.kill()
    shutil.rmtree(own_valkey.folder / "data")
    await own_valkey.start()

    async def halted() -> bool:
        return "adopt --reset" in worker.health.not_ready.get("interactions", "")

    await until(halted)
    from ingest.adopt import Adopt, adopt

    await adopt(world.kafka, world.store, Adopt.RESET)
    await world.caught_up()
    assert await world.history("ann") == ["a"]
    await ready(worker)
