"""The store on a real Valkey, standalone and in a cluster."""

import asyncio
from dataclasses import replace
from time import time

import pytest
from glide import RequestError
from pydantic import ValidationError

from profiles.actions import ProfileSettings
from profiles.announcements.announcement import Announcement
from profiles.announcements.subscriber import AnnouncementSubscriber
from profiles.errors import StoreUnavailable
from profiles.folding.fold import fold
from profiles.profile import Profile, Stored
from profiles.settings import StoreSettings
from profiles.store.connection import Connection
from profiles.store.keys import Keys
from profiles.store.servers import run_ids
from profiles.store.store import ProfileStore, Tail, Write, next_revision
from tests.profiles.conftest import until
from tests.profiles.profile_records import event

ODD_IDS = ["{x}", "a\0b", "😀", "é", "e\u0301", "%7Bx%7D", "}{", "a/b:c", " x", "*", "x" * 256, "שלום\u200f"]
FAR = 4_000_000_000_000


def profile(user_id: str = "ann", **fields: object) -> Profile:
    return replace(Profile(user_id, events=1, expires_at_ms=FAR), **fields)  # type: ignore[arg-type]


async def test_a_written_profile_is_read_back(store: ProfileStore) -> None:
    assert await store.read(["ann", "bob"]) == [None, None]
    assert await store.write([Write("ann", 0, profile())]) == [True]
    stored, nobody = await store.read(["ann", "bob"])
    assert stored is not None and stored.profile == profile() and nobody is None
    assert await store.revisions(["bob", "ann"]) == [0, stored.revision]
    assert (await store.read([]), await store.revisions([]), await store.write([])) == ([], [], [])


async def test_only_the_first_of_two_writers_wins(store: ProfileStore) -> None:
    assert await store.write([Write("ann", 0, profile(events=1)), Write("ann", 0, profile(events=2))]) == [
        True,
        False,
    ]
    [stored] = await store.read(["ann"])
    assert stored is not None and stored.profile.events == 1
    late, now = (
        Write("ann", stored.revision - 1, profile(events=3)),
        Write("ann", stored.revision, profile(events=4)),
    )
    assert await store.write([late, now, Write("bob", 0, profile("bob"))]) == [False, True, True]
    [again] = await store.read(["ann"])
    assert again is not None and again.profile.events == 4 and again.revision > stored.revision
    assert await store.write([Write("ann", 0, profile(events=5))]) == [False]


async def test_two_concurrent_writers_lose_no_events(store: ProfileStore) -> None:
    settings = ProfileSettings()

    async def ingest(partition: int) -> None:
        for start in range(0, 200, 10):
            batch = [
                event("view", f"i{n}", n, offset=n, partition=partition) for n in range(start, start + 10)
            ]
            while True:
                [stored] = await store.read(["ann"])
                folded = fold(stored.profile if stored else None, "ann", batch, settings)
                base = stored.revision if stored else 0
                lasting = replace(folded.profile, expires_at_ms=FAR)
                if (await store.write([Write("ann", base, lasting)]))[0]:
                    break

    await asyncio.gather(ingest(0), ingest(1))
    [stored] = await store.read(["ann"])
    assert stored is not None
    assert stored.profile.totals == {"view": 400}
    assert stored.revision >> 16 == 40
    one_by_one = [event("view", f"i{n}", n, offset=n, partition=p) for p in range(2) for n in range(200)]
    expected = fold(None, "ann", one_by_one, settings).profile
    assert stored.profile == replace(expected, expires_at_ms=FAR)


async def test_thousands_of_profiles_at_once_keep_their_order(store: ProfileStore) -> None:
    users = [f"user-{n}" for n in range(2000)]
    writes = [Write(u, 0, profile(u, events=n)) for n, u in enumerate(users)]
    assert await store.write(writes) == [True] * 2000
    found = await store.read(users)
    assert [stored.profile.events for stored in found if stored] == list(range(2000))
    revisions = await store.revisions(users)
    assert revisions == [stored.revision for stored in found if stored]
    assert sorted({user async for user in store.scan()}) == sorted(users)


async def test_odd_user_ids_are_separate_users(
    store: ProfileStore, subscriber: AnnouncementSubscriber
) -> None:
    heard: list[str] = []
    for user in ODD_IDS:
        assert await subscriber.watch(user, lambda announcement: heard.append(announcement.user_id))
    await store.write([Write(u, 0, profile(u), tail=Tail().add([(1, 2)], 5)) for u in ODD_IDS])
    assert [s.profile.user_id for s in await store.read(ODD_IDS) if s] == ODD_IDS
    assert [len(tail) for tail in await store.read_tails(ODD_IDS) if tail] == [1] * len(ODD_IDS)
    assert {user async for user in store.scan()} == set(ODD_IDS)
    await until(lambda: len(heard) == len(ODD_IDS))
    assert sorted(heard) == sorted(ODD_IDS)


def test_no_user_id_can_choose_its_slot_or_share_a_key() -> None:
    keys = Keys("p:")
    for user in ODD_IDS:
        key = keys.profile(user)
        assert key.count("{") == key.count("}") == 1
        assert keys.user_id(key) == user
    assert len({keys.profile(user) for user in ODD_IDS}) == len(ODD_IDS)


async def test_a_profile_expires_together_with_its_tail(store: ProfileStore) -> None:
    tail = Tail().add([(1, 2)], 5)
    soon = int(time() * 1000) + 1000
    await store.write([Write("ann", 0, profile(expires_at_ms=soon), tail=tail)])
    await store.write([Write("bob", 0, profile("bob"), tail=tail)])
    [bob] = await store.read(["bob"])
    assert bob is not None
    # The write does not change the tail, but gives it the profile's new expiry.
    await store.write([Write("bob", bob.revision, profile("bob", expires_at_ms=soon))])
    assert all(tail is not None for tail in await store.read_tails(["ann", "bob"]))
    await asyncio.sleep(max(0.0, soon / 1000 - time()) + 0.05)
    assert await store.read(["ann", "bob"]) == [None, None]
    assert await store.read_tails(["ann", "bob"]) == [None, None]
    assert await store.revisions(["ann"]) == [0]


async def test_a_profile_that_has_already_expired_is_not_kept(store: ProfileStore) -> None:
    for expires_at_ms in (1, 0, int(time() * 1000) - 1000):
        assert await store.write([Write("ann", 0, profile(expires_at_ms=expires_at_ms))]) == [True]
        assert await store.read(["ann"]) == [None]


async def test_a_tail_is_kept_set_or_deleted(store: ProfileStore) -> None:
    tail = Tail().add([(5, 6), (7, 8)], 5)
    await store.write([Write("ann", 0, profile(), tail=tail)])
    for change, expected in (
        ({}, tail),
        ({"tail": tail.add([(9, 9)], 5)}, tail.add([(9, 9)], 5)),
        ({"delete_tail": True}, None),
        ({"delete_tail": True, "tail": tail}, tail),
        ({"tail": Tail()}, None),
    ):
        [stored] = await store.read(["ann"])
        assert stored is not None
        assert await store.write([Write("ann", stored.revision, profile(), **change)]) == [True]
        assert await store.read_tails(["ann"]) == [expected]


async def test_a_refused_write_changes_no_tail_and_is_not_announced(
    store: ProfileStore, subscriber: AnnouncementSubscriber
) -> None:
    tail = Tail().add([(5, 6)], 5)
    await store.write([Write("ann", 0, profile(), tail=tail)])
    heard: list[Announcement] = []
    await subscriber.watch("ann", heard.append)
    assert await store.write([Write("ann", 0, profile(), delete_tail=True)]) == [False]
    [stored] = await store.read(["ann"])
    assert stored is not None
    assert await store.write([Write("ann", stored.revision, profile())]) == [True]
    await until(lambda: bool(heard))
    assert [each.base_revision for each in heard] == [stored.revision]
    assert await store.read_tails(["ann"]) == [tail]


async def test_every_write_is_announced_with_the_applied_events(
    store: ProfileStore, subscriber: AnnouncementSubscriber
) -> None:
    heard: list[Announcement] = []
    assert await subscriber.watch("ann", heard.append)
    applied = [event("like", "A", 1, offset=7, event_id="e")]
    await store.write([Write("ann", 0, profile(), applied=applied), Write("bob", 0, profile("bob"))])
    await until(lambda: bool(heard))
    [stored] = await store.read(["ann"])
    assert stored is not None
    [announcement] = heard
    assert (announcement.user_id, announcement.base_revision, announcement.quiet) == ("ann", 0, False)
    assert announcement.revision == stored.revision
    assert [(each.item_id, each.position) for each in announcement.applied] == [("A", applied[0].position)]
    await store.write([Write("ann", stored.revision, profile(), quiet=True)])
    await until(lambda: len(heard) == 2)
    assert heard[1].quiet and heard[1].base_revision == stored.revision


async def test_writes_succeed_when_the_script_cache_is_flushed(
    store: ProfileStore, store_settings: StoreSettings
) -> None:
    admin = Connection(store_settings)
    await admin.open()
    users = [f"u{n}" for n in range(60)]
    base = [0] * len(users)

    async def flush() -> None:
        while True:
            await admin.ask("flush", lambda client: client.script_flush())
            await asyncio.sleep(0.001)

    flushing = asyncio.create_task(flush())
    for count in range(1, 21):
        written = await store.write(
            [Write(u, b, profile(u, events=count)) for u, b in zip(users, base, strict=True)]
        )
        assert written == [True] * len(users)
        base = [stored.revision for stored in await store.read(users) if stored]
    flushing.cancel()
    await admin.close()
    assert [revision >> 16 for revision in base] == [20] * len(users)


async def test_cancelled_writes_are_complete_or_absent(store: ProfileStore) -> None:
    users = [f"u{n}" for n in range(40)]

    async def add_one(user: str) -> None:
        [stored] = await store.read([user])
        events = stored.profile.events + 1 if stored else 1
        tail = Tail().add([(events, 1)], 5)
        await store.write(
            [Write(user, stored.revision if stored else 0, profile(user, events=events), tail=tail)]
        )

    for turn in range(30):
        tasks = [asyncio.create_task(add_one(user)) for user in users]
        await asyncio.sleep(0.0005 * (turn % 7))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await store.read(users)  # Answers still reach the right requests.
    await asyncio.sleep(0.1)
    for user, stored, tail in zip(users, await store.read(users), await store.read_tails(users), strict=True):
        if stored is None:
            assert tail is None
            continue
        assert stored.profile.user_id == user
        assert stored.revision >> 16 == stored.profile.events
        assert tail is not None and tail.records() == [(stored.profile.events, 1)]


@pytest.mark.parametrize("value", [b"", b"junk", bytes(8), bytes(12), b"\0\0\0\0\0\0\0\x05\xff\xff\xff"])
async def test_a_damaged_value_is_read_as_an_empty_profile_and_replaced(
    store: ProfileStore, store_settings: StoreSettings, value: bytes
) -> None:
    admin = Connection(store_settings)
    await admin.open()
    key = Keys(store_settings.key_prefix).profile("ann")
    await admin.ask("damage", lambda client: client.set(key, value))
    await admin.close()
    [stored] = await store.read(["ann"])
    assert stored is not None and stored.profile == Profile("ann")
    assert await store.write([Write("ann", stored.revision, profile())]) == [True]
    [healed] = await store.read(["ann"])
    assert healed is not None and healed.profile == profile()


async def test_ids_of_topics_are_stored(store: ProfileStore) -> None:
    assert await store.remembered_topics() == {}
    await store.remember_topics({"interactions": bytes(range(16)), "items": b"\xff" * 16})
    await store.remember_topics({"items": b"\0" * 16})
    await store.remember_topics({})
    assert await store.remembered_topics() == {"interactions": bytes(range(16)), "items": b"\0" * 16}


async def test_the_store_reports_its_identity_and_that_it_accepts_writes(store: ProfileStore) -> None:
    assert await store.identity() == await store.identity() != ""
    await store.ping(30)
    await store.check_writes(30)
    assert [user async for user in store.scan()] == []
    with pytest.raises(StoreUnavailable):
        await store.ping(0)


async def test_prefixes_separate_stores(store: ProfileStore, store_settings: StoreSettings) -> None:
    other = await ProfileStore.connect(
        store_settings.model_copy(update={"key_prefix": store_settings.key_prefix + "*[x]?"})
    )
    await store.write([Write("ann", 0, profile())])
    await other.write([Write("bob", 0, profile("bob"))])
    assert await other.read(["ann", "bob"]) != [None, None]
    assert [user async for user in other.scan()] == ["bob"]
    assert [user async for user in store.scan()] == ["ann"]
    await other.close()


def test_a_revision_counts_writes_and_differs_from_a_lost_one() -> None:
    first = next_revision(0)
    assert first >> 16 == 1 and next_revision(first) >> 16 == 2
    assert len({next_revision(first) for _ in range(50)}) > 40
    assert Stored(first, Profile("ann")).revision < 2**63


@pytest.mark.parametrize(
    "wrong", [{"addresses": ("nowhere",)}, {"addresses": ("h:0",)}, {"addresses": ()}, {"key_prefix": "a{b"}]
)
def test_invalid_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StoreSettings.model_validate(wrong)


async def test_an_answer_that_is_none_of_info_is_an_error_of_the_store() -> None:
    """The client has taken a confirmation of a subscription for it."""

    class Confused:
        async def info(self, sections: object) -> object:
            return {b"kind": b"Subscribe", b"values": [b"channel", 28]}

    with pytest.raises(RequestError, match="answered INFO with"):
        await run_ids(Confused())  # type: ignore[arg-type]
