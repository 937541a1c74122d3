"""Ingest does not read profiles again that it wrote last, and never trusts them if the store holds something else."""

import asyncio
import shutil
import time
from collections.abc import Sequence

import pytest

from ingest.errors import StoreChanged, StoreDown
from ingest.profiles.apply import Apply
from ingest.profiles.recent_profiles import RecentProfiles
from local.servers.valkey import EmbeddedValkey
from profiles.actions import ProfileSettings
from profiles.errors import StoreUnavailable
from profiles.folding.events import Erasure, Event, Position, SlateImpression
from profiles.profile import Profile, Stored
from profiles.store.store import ProfileStore, Write
from tests.ingest.world import T0, MakeWorld, World

TOPIC = b"t" * 16


class Reads:
    """Counts which users were read from the store, in order."""

    def __init__(self, store: ProfileStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.users: list[str] = []
        read = store.read

        async def noted(user_ids: Sequence[str]) -> list[Stored | None]:
            self.users += user_ids
            return await read(user_ids)

        monkeypatch.setattr(store, "read", noted)


class Nobody:
    def note(self, profile: Profile) -> None: ...


def apply_to(world: World, **settings: object) -> Apply:
    return Apply(
        world.store,
        world.states(),
        Nobody(),
        world.profiles,
        world.settings.model_copy(update=settings),
    )


def click(n: int, user: str = "ann", *, partition: int = 0, action: str = "click", at: int = T0) -> Event:
    return Event(user, Position(TOPIC, partition, n), at, f"{partition}-{n}", f"i{n}", action, at + n)


async def applied(apply: Apply, world: World, *events: Event | SlateImpression | Erasure) -> None:
    records: dict[str, list[Event | SlateImpression | Erasure]] = {}
    for event in events:
        records.setdefault(event.user_id, []).append(event)
    await apply(records, await world.store.identity())


async def test_a_user_s_next_event_reads_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, apply = Reads(world.store, monkeypatch), apply_to(world)
    await applied(apply, world, click(0))
    assert reads.users == ["ann"]
    for n in range(1, 5):
        await applied(apply, world, click(n))
    await applied(apply, world, click(5), click(6, "bob"))
    assert reads.users == ["ann", "bob"]
    monkeypatch.undo()
    assert await world.clicks("ann") == 5 + 1
    assert await world.clicks("bob") == 1


async def test_without_a_cache_every_profile_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, apply = Reads(world.store, monkeypatch), apply_to(world, profile_cache_size=0)
    for n in range(3):
        await applied(apply, world, click(n))
    assert reads.users == ["ann"] * 3


async def test_the_cache_holds_what_the_store_holds(world: World) -> None:
    remembering, reading = apply_to(world), apply_to(world, profile_cache_size=0)
    for n in range(40):
        for apply, user in ((remembering, "ann"), (reading, "bob")):
            seen = SlateImpression(user, Position(TOPIC, 0, n), T0 + n, f"s{n}", (f"i{n}", "x"), T0 + n)
            action = ("click", "purchase")[n % 2]
            await applied(apply, world, click(n, user, action=action) if n % 3 else seen)
    ann, bob = [stored.profile if stored else None for stored in await world.store.read(["ann", "bob"])]
    assert ann is not None
    assert bob is not None
    assert (ann.history, ann.totals, ann.states) == (bob.history, bob.totals, bob.states)
    assert len(ann.impressions) == 14 and ann.impressions == bob.impressions
    tails = await world.store.read_tails(["ann", "bob"])
    assert tails[0] is not None
    assert tails[0] == tails[1]


async def test_a_write_of_another_process_in_between_is_not_lost(world: World) -> None:
    """Tails as well, which are read together with their profile."""
    here, there = apply_to(world), apply_to(world)
    for n in range(0, 40, 2):
        await applied(here, world, click(n, action="purchase"))
        await applied(there, world, click(n + 1, partition=1, action="purchase"))
    profile = await world.profile("ann")
    tail = (await world.store.read_tails(["ann"]))[0]
    assert profile is not None
    assert tail is not None
    assert profile.totals == {"purchase": 40}
    assert profile.watermarks == {(TOPIC, 0): 38, (TOPIC, 1): 39}
    in_history = {entry.item_id for entry in profile.history}
    assert all(tail.contains(f"i{n}") for n in range(40) if f"i{n}" not in in_history)


async def test_events_before_an_erasure_stay_erased(world: World) -> None:
    apply = apply_to(world)
    await applied(apply, world, click(0), click(1))
    await applied(apply, world, Erasure("ann", Position(TOPIC, 0, 2), T0, (Position(TOPIC, 0, 2),)))
    await applied(apply, world, click(3))
    assert await world.history("ann") == ["i3"]
    assert await world.clicks("ann") == 1


async def test_an_expired_profile_starts_empty(make_world: MakeWorld) -> None:
    lifetime = ProfileSettings(history=8, refold_every=4, time_to_live_days=2 / 86_400)
    world = await make_world(profiles=lifetime)
    apply = apply_to(world)
    await applied(apply, world, click(0, at=int(time.time() * 1000)))
    await asyncio.sleep(2.5)
    assert await world.profile("ann") is None
    await applied(apply, world, click(1, at=int(time.time() * 1000)))
    assert await world.history("ann") == ["i1"]
    assert await world.clicks("ann") == 1


async def test_only_the_store_decides_that_a_record_is_a_repeat(world: World) -> None:
    """If there is nothing to write, no fence notices that the profile is gone."""
    apply = apply_to(world)
    await applied(apply, world, click(0))
    stored = (await world.store.read(["ann"]))[0]
    assert stored is not None
    await world.store.write([Write("ann", stored.revision, Profile("ann", expires_at_ms=1))])
    assert await world.profile("ann") is None
    await applied(apply, world, click(0))
    assert await world.history("ann") == ["i0"]


async def test_after_a_failed_write_the_profile_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = apply_to(world)
    await applied(apply, world, click(0))
    write = world.store.write

    async def unacknowledged(writes: Sequence[Write]) -> list[bool]:
        await write(writes)
        raise StoreUnavailable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "write", unacknowledged)
        with pytest.raises(StoreDown):
            await applied(apply, world, click(1))
    reads = Reads(world.store, monkeypatch)
    await applied(apply, world, click(1), click(2))
    assert reads.users == ["ann"]
    assert await world.clicks("ann") == 3


async def test_all_profiles_are_read_again_after_partitions_move(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, apply = Reads(world.store, monkeypatch), apply_to(world)
    await applied(apply, world, click(0))
    apply.clear_cache()
    await applied(apply, world, click(1))
    assert reads.users == ["ann", "ann"]


@pytest.mark.parametrize("late", [False, True], ids=["before the check", "between check and write"])
async def test_no_watermark_passes_events_that_a_restarted_store_has_lost(
    make_world: MakeWorld, own_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    world = await make_world(store_address=own_valkey.address)
    apply = apply_to(world)
    before = await world.store.identity()
    await applied(apply, world, click(0))
    await asyncio.sleep(1.5)  # The append-only file is flushed every second.
    shutil.copytree(own_valkey.folder / "data", own_valkey.folder / "copy")
    await applied(apply, world, click(1))
    own_valkey.kill()
    shutil.rmtree(own_valkey.folder / "data")
    shutil.copytree(own_valkey.folder / "copy", own_valkey.folder / "data")
    await own_valkey.start()
    identity = world.store.identity
    answers = [before] if late else []

    async def named() -> str:
        return answers.pop() if answers else await identity()

    monkeypatch.setattr(world.store, "identity", named)
    await _answering(world)
    with pytest.raises(StoreChanged):
        await apply({"ann": [click(2)]}, before)
    profile = await world.profile("ann")
    assert profile is not None
    assert profile.watermarks == {(TOPIC, 0): 0}
    await applied(apply, world, click(1), click(2))
    assert await world.history("ann") == ["i0", "i1", "i2"]


async def _answering(world: World) -> None:
    """Waits until the connection to a restarted store works again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await world.store.ping(1.0)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


def test_only_the_latest_profiles_are_kept() -> None:
    recent = RecentProfiles(3)
    for n in range(5):
        recent.keep(f"u{n}", Write(f"u{n}", 0, Profile(f"u{n}", events=n)).value)
        assert len(recent) <= 3
    assert recent.take("u1") is None
    again = recent.take("u2")
    assert again is not None
    assert again.profile == Profile("u2", events=2)
    assert recent.take("u2") is None
    latest = Write("u3", again.revision, Profile("u3", events=9))
    recent.keep("u3", latest.value)
    for n in (7, 8):
        recent.keep(f"u{n}", Write(f"u{n}", 0, Profile(f"u{n}")).value)
    assert recent.take("u4") is None
    assert recent.take("u3") == Stored(latest.revision, latest.profile)
