"""A slow or dead model delays no event. States that fell behind are refolded."""

import asyncio

from profiles.profile import ModelState
from tests.ingest.model import VERSION
from tests.ingest.world import T0, MakeWorld, World, until


async def state(world: World, user: str) -> ModelState | None:
    profile = await world.profile(user)
    return None if profile is None else profile.state(VERSION)


async def fresh(world: World, user: str) -> None:
    async def is_fresh() -> bool:
        found = await state(world, user)
        return found is not None and not found.stale

    await until(is_fresh)


async def test_with_the_model_down_events_are_applied_and_states_refolded_later(world: World) -> None:
    await world.start()
    await world.send("ann", "a")
    await world.caught_up()
    world.model.down = True
    await world.send("ann", "b", at=T0 + 1)
    await world.send("bob", "a", at=T0 + 1)
    await world.caught_up()
    assert await world.history("ann") == ["a", "b"]
    behind = await state(world, "ann")
    assert behind is not None
    assert behind.stale
    assert await state(world, "bob") is None
    world.model.down = False
    await fresh(world, "ann")
    await fresh(world, "bob")
    report = await world.verified()
    assert report.equal, report.differences
    assert report.states_compared == 2


async def test_ingest_waits_for_a_slow_model_only_within_its_budget(world: World) -> None:
    await world.start()
    world.model.seconds = 30.0
    await world.send("ann", "a")
    await world.caught_up()
    assert await world.history("ann") == ["a"]
    world.model.seconds = 0.0
    await world.send("ann", "b", at=T0 + 1)
    await fresh(world, "ann")
    assert (await world.verified()).equal


async def test_the_state_is_refolded_when_an_item_gets_its_vector(world: World) -> None:
    await world.start()
    world.without_vector.add("new")
    await world.send("ann", "new")
    await world.send("bob", "old")
    await world.caught_up()
    ann = await state(world, "ann")
    assert ann is not None
    assert ann.stale
    assert not (await state(world, "bob")).stale  # type: ignore[union-attr]
    world.without_vector.clear()
    await fresh(world, "ann")
    assert (await world.verified()).equal


async def test_a_new_process_finds_the_states_that_are_stale(world: World) -> None:
    worker = await world.start()
    world.model.down = True
    for n in range(20):
        await world.send(f"u{n}", "a")
    await world.caught_up()
    await worker.stop()
    world.model.down = False
    await world.start()
    for n in range(20):
        await fresh(world, f"u{n}")


async def test_a_scan_finds_stale_users_beyond_the_remembered_ones(world: World) -> None:
    await world.start(stale_users=3)
    world.model.down = True
    for n in range(20):
        await world.send(f"u{n}", "a")
    await world.caught_up()
    world.model.down = False
    for n in range(20):
        await fresh(world, f"u{n}")


async def test_a_state_of_another_model_version_is_kept_for_one_more_change(world: World) -> None:
    await world.start()
    await world.send("ann", "a")
    await world.caught_up()
    stored = (await world.store.read(["ann"]))[0]
    assert stored is not None
    from dataclasses import replace

    from profiles.store.store import Write

    other = ModelState(VERSION - 1, b"\0" * 8, b"\0" * 8)
    profile = replace(stored.profile, states=(other, *stored.profile.states))
    assert await world.store.write([Write("ann", stored.revision, profile)]) == [True]
    await world.send("ann", "b", at=T0 + 1)
    await world.caught_up()
    profile = await world.profile("ann")  # type: ignore[assignment]
    assert profile.states[0] == replace(other, stale=True)
    assert not profile.states[1].stale
    await world.send("ann", "c", at=T0 + 2)
    await world.caught_up()
    profile = await world.profile("ann")  # type: ignore[assignment]
    assert [each.model_version for each in profile.states] == [VERSION], "retired: this process has heard"


async def test_an_event_ends_the_wait_for_a_batch(make_world: MakeWorld) -> None:
    """Each event waits for the one before it. If each poll ran to its limit, all of them would take two minutes."""
    world = await make_world(poll_ms=10_000, fetch_wait_ms=5_000)
    await world.start()
    async with asyncio.timeout(60):
        for n in range(12):
            await world.send("ann", f"i{n}", at=T0 + n)
            await world.caught_up()
