"""A Valkey that dies, comes back, goes silent, or runs out of memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from local.servers.ports import free_port
from local.servers.valkey import EmbeddedValkey
from local.servers.valkey_cluster import EmbeddedValkeyCluster
from profiles.announcements.announcement import Announcement
from profiles.announcements.subscriber import AnnouncementSubscriber
from profiles.errors import StoreUnavailable
from profiles.profile import ModelState, Profile
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore, Tail, Write
from tests.profiles.conftest import GENEROUS_SECONDS, running, settings_of, until
from tests.profiles.stalling_link import StallingLink
from tests.profiles.test_profiles_announcements import touch

FAR = 4_000_000_000_000
QUICK: dict[str, object] = {"request_timeout_ms": 400, "probe_interval_ms": 100, "reconnect_after_ms": 1000}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A server that the test may break."""
    server = EmbeddedValkey(tmp_path / "valkey", free_port())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[EmbeddedValkeyCluster]:
    """A cluster that the test may break."""
    cluster = EmbeddedValkeyCluster(tmp_path / "cluster")
    await cluster.start()
    yield cluster
    await cluster.stop()


@asynccontextmanager
async def connected(settings: StoreSettings) -> AsyncIterator[tuple[ProfileStore, AnnouncementSubscriber]]:
    store, subscriber = await ProfileStore.connect(settings), await AnnouncementSubscriber.connect(settings)
    try:
        async with running(subscriber):
            yield store, subscriber
    finally:
        await subscriber.close()
        await store.close()


async def eventually(do: Callable[[], Awaitable[object]]) -> None:
    """Repeats the call until the store is available."""
    deadline = monotonic() + GENEROUS_SECONDS
    while True:
        try:
            await do()
        except StoreUnavailable:
            assert monotonic() < deadline, "the store did not come back"
            await asyncio.sleep(0.02)
        else:
            return


async def test_after_a_restart_connections_recover_and_watchers_are_notified(
    server: EmbeddedValkey, prefix: str
) -> None:
    heard: list[Announcement] = []
    async with connected(settings_of(server, prefix, **QUICK)) as (store, subscriber):
        before = await store.identity()
        users = [f"u{n}" for n in range(200)]
        await asyncio.gather(*(subscriber.watch(user, heard.append) for user in users))
        await touch(store, *users)
        await until(lambda: len(heard) == 200)
        generation = subscriber.generation
        server.kill()
        with pytest.raises(StoreUnavailable):
            await store.read(["u0"])
        with pytest.raises(StoreUnavailable):
            await store.write([Write("u0", 0, Profile("u0", expires_at_ms=FAR))])
        await server.start()
        await until(lambda: subscriber.generation > generation)
        heard.clear()
        # The restarted server has lost the script, but no acknowledged write.
        await eventually(lambda: touch(store, *users))
        await until(lambda: {each.user_id for each in heard} == set(users))
        counts = [revision >> 16 for revision in await store.revisions(users) if revision]
        assert len(counts) == 200 and min(counts) >= 2
        assert await store.identity() != before


async def test_a_store_may_be_down_when_a_process_starts(server: EmbeddedValkey, prefix: str) -> None:
    settings = settings_of(server, prefix, **QUICK)
    server.kill()
    heard: list[Announcement] = []
    async with connected(settings) as (store, subscriber):
        with pytest.raises(StoreUnavailable):
            await store.read(["ann"])
        assert await subscriber.watch("ann", heard.append) is False
        await server.start()
        # A watcher whose watch was not confirmed is notified once it is.
        await until(lambda: [each.revision for each in heard] == [0])
        await eventually(lambda: touch(store, "ann"))
        await until(lambda: len(heard) == 2)


async def test_a_store_that_is_down_costs_little_until_it_is_back(
    server: EmbeddedValkey, prefix: str
) -> None:
    store = await ProfileStore.connect(settings_of(server, prefix, **QUICK))
    await touch(store, "ann")
    server.kill()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.read(["ann"])
    refused_at_once = 0
    for _ in range(200):
        with pytest.raises(StoreUnavailable) as failure:
            await store.read(["ann"])
        refused_at_once += failure.value.__cause__ is None
    assert refused_at_once > 190
    await server.start()
    await eventually(lambda: store.read(["ann"]))
    await store.close()


async def test_a_silent_link_is_replaced_and_recovers(server: EmbeddedValkey, prefix: str) -> None:
    link = StallingLink(server.host, server.port)
    await link.start()
    direct = await ProfileStore.connect(settings_of(server, prefix))
    heard: list[Announcement] = []
    async with connected(settings_of(server, prefix, addresses=(link.address,), **QUICK)) as (
        store,
        subscriber,
    ):
        await subscriber.watch("ann", heard.append)
        await touch(store, "ann")
        await until(lambda: len(heard) == 1)
        generation = subscriber.generation
        link.stalled = True
        with pytest.raises(StoreUnavailable):
            await store.read(["ann"])
        await touch(direct, "ann")  # This announcement is lost.
        await asyncio.sleep(2)
        link.stalled = False
        await until(lambda: subscriber.generation > generation)
        heard.clear()
        await eventually(lambda: store.read(["ann"]))
        await touch(store, "ann")
        await until(lambda: len(heard) == 1)
    await direct.close()
    await link.stop()


async def test_a_killed_connection_is_noticed_while_the_server_runs(
    server: EmbeddedValkey, prefix: str
) -> None:
    heard: list[Announcement] = []
    async with connected(settings_of(server, prefix, **QUICK)) as (store, subscriber):
        await subscriber.watch("ann", heard.append)
        await asyncio.sleep(0.3)  # A probe has seen the connection by then.
        generation = subscriber.generation
        await server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: subscriber.generation > generation)
        await touch(store, "ann")
        await until(lambda: len(heard) == 1)


async def test_out_of_memory_nothing_is_written_in_part_and_reads_work(
    server: EmbeddedValkey, prefix: str
) -> None:
    store = await ProfileStore.connect(settings_of(server, prefix))
    tail = Tail().add([(n, n) for n in range(100)], 100)
    small = Profile("ann", events=1, expires_at_ms=FAR)
    assert await store.write([Write("ann", 0, small, tail=tail)]) == [True]
    await store.check_writes(30)
    await server.command("CONFIG", "SET", "maxmemory", "1")
    [stored] = await store.read(["ann"])
    assert stored is not None
    large = Profile("ann", 2, expires_at_ms=FAR, states=(ModelState(1, bytes(5000), b""),))
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="OOM"):
            await store.write([Write("ann", stored.revision, large, delete_tail=True)])
    with pytest.raises(StoreUnavailable):
        await store.check_writes(30)
    await store.ping(30)
    assert await store.read(["ann"]) == [stored]
    assert await store.read_tails(["ann"]) == [tail]
    await server.command("CONFIG", "SET", "maxmemory", "0")
    assert await store.write([Write("ann", stored.revision, large, delete_tail=True)]) == [True]
    await store.close()


async def test_a_server_that_forbids_publishing_still_accepts_writes(
    server: EmbeddedValkey, prefix: str
) -> None:
    password = "p@ss/w#rd%41:?&é"
    await server.command(
        "ACL", "SETUSER", "mute", "on", f">{password}", "~*", "+@all", "-publish", "resetchannels"
    )
    store = await ProfileStore.connect(settings_of(server, prefix, username="mute", password=password))
    await touch(store, "ann")
    assert await store.read(["ann"]) != [None]
    await store.close()


async def test_a_wrong_password_raises_store_unavailable_without_revealing_it(
    server: EmbeddedValkey, prefix: str
) -> None:
    await server.command("ACL", "SETUSER", "ann", "on", ">right", "~*", "+@all", "&*")
    settings = settings_of(server, prefix, username="ann", password="wr0ng-secret", **QUICK)
    store = await ProfileStore.connect(settings)
    with pytest.raises(StoreUnavailable) as failure:
        await store.read(["ann"])
    assert "wr0ng" not in str(failure.value) + repr(settings)
    await store.close()


async def test_the_rest_of_a_cluster_works_while_a_part_is_down(
    cluster: EmbeddedValkeyCluster, prefix: str
) -> None:
    for node in cluster.nodes:
        await node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    addresses = tuple(f"{host}:{port}" for host, port in cluster.addresses)
    settings = StoreSettings(addresses=addresses, cluster=True, key_prefix=prefix).model_copy(update=QUICK)
    heard: set[str] = set()

    def hear(announcement: Announcement) -> None:
        heard.add(announcement.user_id)

    async with connected(settings) as (store, subscriber):
        users = [f"u{n}" for n in range(60)]
        assert all(await asyncio.gather(*(subscriber.watch(user, hear) for user in users)))
        await touch(store, *users)
        await until(lambda: heard == set(users))
        generation = subscriber.generation
        cluster.nodes[1].kill()
        revisions: list[int | None] = []

        async def read_revisions() -> None:
            revisions[:] = await store.revisions(users)

        await eventually(read_revisions)
        lost = {user for user, revision in zip(users, revisions, strict=True) if revision is None}
        assert 0 < len(lost) < 60
        with pytest.raises(StoreUnavailable):
            await store.read(users)
        well = [user for user in users if user not in lost]
        heard.clear()
        await eventually(lambda: touch(store, *well))
        await until(lambda: heard == set(well))
        # The client confirms no new subscription on any server before the lost server is back.
        await asyncio.gather(subscriber.watch("new-1", hear), subscriber.watch("new-2", hear))
        await cluster.nodes[1].start()
        await until(lambda: subscriber.generation > generation)
        heard.clear()
        await eventually(lambda: touch(store, *users, "new-1", "new-2"))
        await until(lambda: heard >= {*users, "new-1", "new-2"})


async def test_users_of_a_moved_slot_are_still_read_and_announced(
    cluster: EmbeddedValkeyCluster, prefix: str
) -> None:
    addresses = tuple(f"{host}:{port}" for host, port in cluster.addresses)
    settings = StoreSettings(addresses=addresses, cluster=True, key_prefix=prefix, request_timeout_ms=5000)
    heard: list[Announcement] = []
    async with connected(settings) as (store, subscriber):
        await subscriber.watch("ann", heard.append)
        await touch(store, "ann")
        await until(lambda: len(heard) == 1)
        await _move_slot(cluster, f"{prefix}{{ann}}:p", [f"{prefix}{{ann}}:p"])
        await eventually(lambda: touch(store, "ann"))
        [stored] = await store.read(["ann"])
        assert stored is not None and stored.revision >> 16 == 2

        async def touch_and_hear() -> None:
            count = len(heard)
            await touch(store, "ann")
            await asyncio.sleep(0.05)
            if len(heard) == count:
                raise StoreUnavailable("not heard yet")

        await eventually(touch_and_hear)


async def _move_slot(cluster: EmbeddedValkeyCluster, key: str, keys: list[str]) -> None:
    """Moves one slot, as an operator's resharding does."""
    slot = int(await cluster.nodes[0].command("CLUSTER", "KEYSLOT", key))
    source = cluster.nodes[slot * 3 // 16_384]
    target = cluster.nodes[(slot * 3 // 16_384 + 1) % 3]
    names = {node: (await node.command("CLUSTER", "MYID")).decode() for node in cluster.nodes}
    await target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    await source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    await source.command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *cluster.nodes):
        await node.command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
