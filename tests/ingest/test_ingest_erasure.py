"""Erasure is an event. No replay brings the erased events back."""

import asyncio

from ingest.consuming.groups import interactions_group
from ingest.consuming.offsets import rewind_group
from tests.ingest.world import T0, World


async def test_a_user_erased_while_events_flow_stays_empty_after_a_replay(world: World) -> None:
    worker = await world.start()
    stop = asyncio.Event()

    async def flow() -> int:
        sent = 0
        while not stop.is_set():
            await world.send("ann", f"i{sent}", action="purchase", at=T0 + sent)
            await world.send("bob", f"i{sent}", at=T0 + sent)
            sent += 1
        return sent

    flowing = asyncio.create_task(flow())
    await asyncio.sleep(0.5)
    await world.erase("ann")
    await asyncio.sleep(0.2)
    stop.set()
    sent = await flowing
    await world.erase("ann")
    await world.caught_up()

    async def is_empty() -> None:
        profile = await world.profile("ann")
        assert profile is not None
        assert (profile.events, profile.history, profile.totals, profile.states) == (0, (), {}, ())
        assert await world.store.read_tails(["ann"]) == [None]
        assert await world.clicks("bob") == sent

    await is_empty()
    await worker.stop()
    await rewind_group(world.kafka, interactions_group(world.kafka), world.kafka.topics.interactions)
    await world.start()
    await world.caught_up()
    await is_empty()
    await world.send("ann", "new", at=T0 + 10**5)
    await world.caught_up()
    assert await world.history("ann") == ["new"]
    report = await world.verified()
    assert report.equal, report.differences
