"""Announcements on a real Valkey, standalone and in a cluster."""

import asyncio

import pytest

from profiles.announcements import announcement
from profiles.announcements.announcement import Announcement
from profiles.announcements.subscriber import AnnouncementSubscriber
from profiles.profile import Profile, Stored
from profiles.settings import StoreSettings
from profiles.store import codec, servers
from profiles.store.connection import Client, Connection
from profiles.store.keys import Keys
from profiles.store.store import ProfileStore, Write
from tests.profiles.conftest import until

FAR = 4_000_000_000_000


async def touch(store: ProfileStore, *users: str) -> None:
    """Writes the users' profiles again."""
    stored = await store.read(users)
    writes = [
        Write(user, each.revision if each else 0, Profile(user, expires_at_ms=FAR))
        for user, each in zip(users, stored, strict=True)
    ]
    assert await store.write(writes) == [True] * len(users)


@pytest.fixture
def subscribed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of channels in each request to subscribe."""
    sizes: list[int] = []
    subscribe = servers.subscribe

    async def counting(channels: set[str], timeout_ms: int, client: Client) -> None:
        sizes.append(len(channels))
        await subscribe(channels, timeout_ms, client)

    monkeypatch.setattr("profiles.announcements.subscriber.subscribe", counting)
    return sizes


async def test_thousands_of_watches_at_once_take_few_requests(
    subscriber: AnnouncementSubscriber, store: ProfileStore, subscribed: list[int]
) -> None:
    users = [f"user-{n}" for n in range(5000)]
    heard: list[str] = []

    def hear(announcement: Announcement) -> None:
        heard.append(announcement.user_id)

    assert all(await asyncio.gather(*(subscriber.watch(user, hear) for user in users)))
    assert sum(subscribed) == 5000 and len(subscribed) <= 3
    await touch(store, *users)
    await until(lambda: len(heard) == 5000)
    assert sorted(heard) == sorted(users)
    await asyncio.gather(*(subscriber.unwatch(user, hear) for user in users))


async def test_watches_that_arrive_during_a_request_are_batched(
    subscriber: AnnouncementSubscriber, subscribed: list[int]
) -> None:
    async def later(n: int) -> bool:
        await asyncio.sleep(n / 20_000)
        return await subscriber.watch(f"u{n}", lambda _: None)

    assert all(await asyncio.gather(*(later(n) for n in range(1000))))
    assert sum(subscribed) == 1000 and len(subscribed) < 500


async def test_several_watches_of_one_user_end_independently(
    subscriber: AnnouncementSubscriber, store: ProfileStore, subscribed: list[int]
) -> None:
    heard: dict[str, int] = {"one": 0, "two": 0}

    def one(_: Announcement) -> None:
        heard["one"] += 1

    def two(_: Announcement) -> None:
        heard["two"] += 1

    assert await subscriber.watch("ann", one) and await subscriber.watch("ann", two)
    assert subscribed == [1]
    await touch(store, "ann")
    await until(lambda: heard == {"one": 1, "two": 1})
    await subscriber.unwatch("ann", one)
    await subscriber.unwatch("ann", one)
    await subscriber.unwatch("nobody", one)
    await touch(store, "ann")
    await until(lambda: heard["two"] == 2)
    assert heard["one"] == 1


async def subscribers(settings: StoreSettings, user_id: str) -> int:
    """The number of connections that are subscribed to the user's channel."""
    connection = Connection(settings)
    await connection.open()
    command = "SHARDNUMSUB" if settings.cluster else "NUMSUB"
    channel = Keys(settings.key_prefix).channel(user_id)

    async def ask(client: Client) -> object:
        if settings.cluster:
            from glide import GlideClusterClient, SlotKeyRoute, SlotType

            assert isinstance(client, GlideClusterClient)
            route = SlotKeyRoute(SlotType.PRIMARY, channel)
            return await client.custom_command(["PUBSUB", command, channel], route)
        return await client.custom_command(["PUBSUB", command, channel])

    answer = await connection.ask("count subscribers", ask)
    await connection.close()
    if isinstance(answer, dict):
        return int(next(iter(answer.values())))
    assert isinstance(answer, list)
    return int(answer[1])


async def test_the_last_unwatch_ends_the_subscription(
    subscriber: AnnouncementSubscriber, store_settings: StoreSettings
) -> None:
    def hear(_: Announcement) -> None:
        pass

    await subscriber.watch("ann", hear)
    assert await subscribers(store_settings, "ann") == 1
    await subscriber.unwatch("ann", hear)
    while await subscribers(store_settings, "ann"):
        await asyncio.sleep(0.01)


async def test_repeated_watches_and_unwatches_lose_no_announcement(
    subscriber: AnnouncementSubscriber, store: ProfileStore
) -> None:
    heard = 0

    def hear(_: Announcement) -> None:
        nonlocal heard
        heard += 1

    for turn in range(1, 60):
        assert await subscriber.watch("ann", hear)
        await touch(store, "ann")
        await until(lambda turn=turn: heard == turn)  # type: ignore[misc]
        await subscriber.unwatch("ann", hear)
        if turn % 3:
            await asyncio.sleep(0.002 * (turn % 5))


async def test_a_callback_that_fails_does_not_affect_the_others(
    subscriber: AnnouncementSubscriber, store: ProfileStore
) -> None:
    heard: list[Announcement] = []

    def fail(_: Announcement) -> None:
        raise RuntimeError("a stream's own fault")

    await subscriber.watch("ann", fail)
    await subscriber.watch("ann", heard.append)
    await touch(store, "ann")
    await until(lambda: len(heard) == 1)


async def test_a_cancelled_watch_leaves_nothing_behind(
    subscriber: AnnouncementSubscriber, store_settings: StoreSettings
) -> None:
    heard: list[Announcement] = []
    tasks = [asyncio.create_task(subscriber.watch(f"u{n}", heard.append)) for n in range(200)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    while any([await subscribers(store_settings, f"u{n}") for n in range(0, 200, 40)]):
        await asyncio.sleep(0.01)
    assert await subscriber.watch("ann", heard.append)


async def test_an_invalid_announcement_is_ignored(
    subscriber: AnnouncementSubscriber, store: ProfileStore, store_settings: StoreSettings
) -> None:
    heard: list[Announcement] = []
    await subscriber.watch("ann", heard.append)
    channel = Keys(store_settings.key_prefix).channel("ann")
    connection = Connection(store_settings)
    await connection.open()
    command = "SPUBLISH" if store_settings.cluster else "PUBLISH"
    await connection.ask("publish", lambda client: client.custom_command([command, channel, b"\xff\xff"]))
    await connection.close()
    await touch(store, "ann")
    await until(lambda: len(heard) == 1)
    assert heard[0].revision > 0


async def test_an_announcement_has_the_profile_as_it_is_in_the_store(
    subscriber: AnnouncementSubscriber, store: ProfileStore
) -> None:
    heard: list[Announcement] = []
    assert await subscriber.watch("ann", heard.append)
    for _ in range(3):
        await touch(store, "ann")
    await until(lambda: len(heard) == 3)
    assert heard[-1].stored == (await store.read(["ann"]))[0]
    assert [each.stored.revision for each in heard if each.stored] == [each.revision for each in heard]


async def test_an_attached_profile_is_decoded_once_on_first_access(
    subscriber: AnnouncementSubscriber, store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counting(value: bytes) -> Stored:
        decoded.append(len(value))
        return codec.decode(value)

    monkeypatch.setattr(announcement, "decode", counting)
    one: list[Announcement] = []
    two: list[Announcement] = []
    await subscriber.watch("ann", one.append)
    await subscriber.watch("ann", two.append)
    await touch(store, "ann")
    await until(lambda: bool(one and two))
    assert not decoded
    assert one[0].stored is not None and one[0].stored is two[0].stored
    assert len(decoded) == 1


async def test_a_profile_that_is_too_large_is_announced_without_being_attached(
    subscriber: AnnouncementSubscriber, store: ProfileStore
) -> None:
    heard: list[Announcement] = []
    assert await subscriber.watch("ann", heard.append)
    large = Profile("ann", totals={"x" * 70_000: 1}, expires_at_ms=FAR)
    assert await store.write([Write("ann", 0, large)]) == [True]
    await until(lambda: len(heard) == 1)
    [stored] = await store.read(["ann"])
    assert stored is not None and stored.profile == large
    assert heard[0].revision == stored.revision and heard[0].stored is None
    await touch(store, "ann")
    await until(lambda: len(heard) == 2)
    assert heard[1].stored == (await store.read(["ann"]))[0]
