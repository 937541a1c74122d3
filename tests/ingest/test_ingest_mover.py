"""Profiles move to a new version in the background, and back without any work."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ingest.profiles.states import ModelStates
from profiles.profile import ModelState, Profile
from telemetry.faults import FAULTS
from tests.ingest.model import VERSION
from tests.ingest.world import T0, World, until

NEW = VERSION + 1
USERS = [f"u{number}" for number in range(150)]


async def states(world: World) -> dict[str, set[int]]:
    stored = await world.store.read(USERS)
    return {
        s.profile.user_id: {state.model_version for state in s.profile.states if not state.stale}
        for s in stored
        if s is not None
    }


async def all_have(world: World, *versions: int) -> None:
    async def have() -> bool:
        found = await states(world)
        return len(found) == len(USERS) and all(set(versions) <= each for each in found.values())

    await until(have)


async def filled(world: World) -> None:
    for number, user in enumerate(USERS):
        await world.send(user, f"item-{number % 7}")
    await world.caught_up()
    await all_have(world, VERSION)


async def test_profiles_get_a_state_of_the_new_version_and_keep_the_one_before(world: World) -> None:
    await world.start()
    await filled(world)
    world.point(VERSION, NEW, 1)
    await all_have(world, VERSION, NEW)
    await world.send("u0", "item-3", at=T0 + 1)
    await world.send("stranger", "item-3")
    await world.caught_up()
    await all_have(world, VERSION, NEW)
    stranger = await world.profile("stranger")
    assert stranger is not None
    assert [state.model_version for state in stranger.states] == [VERSION, NEW]
    report = await world.verified()
    assert report.equal, report.differences
    assert report.states_compared == 2 * (len(USERS) + 1)


async def test_a_profile_that_meets_a_fault_of_ours_does_not_hold_the_others_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dapr 3534 and go-via 120: the one that always fails is tried first, again and again, and none behind it."""
    refold, fault = ModelStates.refold, {"u7"}

    async def refolding(self: ModelStates, profiles: Sequence[Profile], **options: Any) -> list[Profile]:
        if any(profile.user_id in fault for profile in profiles):
            raise ZeroDivisionError("a fault of ours")
        return await refold(self, profiles, **options)

    worker = await world.start()
    await filled(world)
    monkeypatch.setattr(ModelStates, "refold", refolding)
    before = FAULTS.labels("model-state")._value.get()
    world.point(VERSION, NEW, 1)

    async def others_have() -> bool:
        return [user for user, have in (await states(world)).items() if NEW not in have] == ["u7"]

    await until(others_have)
    assert FAULTS.labels("model-state")._value.get() == before + 1 and not worker.sweeping.done()
    fault.clear()
    world.point(VERSION, NEW, 1)
    await all_have(world, VERSION, NEW)


async def test_a_fault_that_all_profiles_meet_ends_the_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no matter of single users: the task fails, is counted, and begins again after a pause."""

    async def refolding(self: ModelStates, profiles: Sequence[Profile], **options: Any) -> list[Profile]:
        raise ZeroDivisionError("a fault of ours")

    worker = await world.start()
    await filled(world)
    monkeypatch.setattr(ModelStates, "refold", refolding)
    world.point(VERSION, NEW, 1)
    await asyncio.wait({worker.sweeping}, timeout=30)
    assert worker.sweeping.done() and isinstance(worker.sweeping.exception(), ZeroDivisionError)


async def test_only_users_in_the_share_move(world: World) -> None:
    await world.start()
    await filled(world)
    world.point(VERSION, NEW, 0.3)
    routing = world.routing()
    chosen = {user: routing.chosen(user) for user in USERS}
    wanted = {user: {VERSION, found.version} for user, found in chosen.items() if found is not None}
    assert {len(each) for each in wanted.values()} == {1, 2}

    async def moved() -> bool:
        return await states(world) == wanted

    await until(moved)


async def test_a_rollback_folds_no_state(world: World) -> None:
    await world.start()
    await filled(world)
    world.point(VERSION, NEW, 1)
    await all_have(world, VERSION, NEW)
    folded = world.model.folds
    world.point(VERSION, NEW, 0)
    await world.send("u0", "item-3", at=T0 + 1)
    await world.caught_up()
    await all_have(world, VERSION)
    assert world.model.folds == folded


async def test_a_new_process_continues_a_migration_that_was_interrupted(world: World) -> None:
    worker = await world.start(sweep_batch=5)
    await filled(world)
    world.model.seconds = 0.02
    world.point(VERSION, NEW, 1)

    async def begun() -> bool:
        return any(NEW in each for each in (await states(world)).values())

    await until(begun)
    await worker.kill()
    world.model.seconds = 0.0
    assert not all(NEW in each for each in (await states(world)).values())
    await world.start()
    await all_have(world, VERSION, NEW)
    assert (await world.verified()).equal


async def test_a_profile_with_an_item_without_a_vector_moves_and_is_refolded_later(world: World) -> None:
    await world.start()
    world.without_vector.add("unknown")
    await world.send("u0", "unknown")
    await world.caught_up()
    world.point(VERSION, NEW, 1)

    async def state() -> ModelState | None:
        profile = await world.profile("u0")
        return profile.state(NEW) if profile is not None else None

    async def moved() -> bool:
        return await state() is not None

    await until(moved)
    found = await state()
    assert found is not None
    assert found.stale
    world.without_vector.clear()

    async def mended() -> bool:
        found = await state()
        return found is not None and not found.stale

    await until(mended)


async def test_before_any_version_is_published_events_are_applied(world: World) -> None:
    world.point(None, VERSION, 0)
    await world.start()
    await world.send("u0", "item-1")
    await world.caught_up()
    profile = await world.profile("u0")
    assert profile is not None
    assert profile.states == ()
    world.point(None, VERSION, 1)

    async def moved() -> bool:
        found = await world.profile("u0")
        return found is not None and found.state(VERSION) is not None

    await until(moved)


async def test_events_are_applied_while_profiles_move(world: World) -> None:
    await world.start(sweep_batch=5)
    await filled(world)
    world.point(VERSION, NEW, 1)
    for round_ in range(3):
        for number, user in enumerate(USERS[:30]):
            await world.send(user, f"item-{number % 5}", at=T0 + 10 + round_)
        await asyncio.sleep(0.05)
    await world.caught_up()
    await all_have(world, VERSION, NEW)
    report = await world.verified(wait=10)
    assert report.equal, report.differences
