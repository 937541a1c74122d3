"""Profiles in announcements: they save a read, never replace a newer profile, and may be lost without harm."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest_asyncio

from profiles.announcements.announcement import Announcement, AttachedProfile
from profiles.profile import Profile, Stored
from profiles.store.codec import encode, encode_revision
from profiles.store.store import ProfileStore, Tail, Write, hash64
from recstream.v1 import recommendation_service_pb2 as rpc
from server.streaming.mailbox import Mailbox
from tests.server.streams import ids, next_frame, open_stream, record, until
from tests.server.world import World, eventually, now_ms, world


def announcement(revision: int, *, quiet: bool = False) -> Announcement:
    value = encode_revision(revision) + encode(Profile("ann"))
    return Announcement("ann", revision - 1, revision, quiet, (), AttachedProfile("ann", value))


def brought(mailbox: Mailbox) -> int | None:
    """The revision of the announced profile that the next slate would use without a read."""
    stored = mailbox.announced(mailbox.take())
    return stored.revision if stored else None


def reading(around: World) -> list[str]:
    """A list of the users whose profiles the server reads from now on."""
    users: list[str] = []
    store: ProfileStore = around.server._store
    read = store.read

    async def counting(user_ids: Sequence[str]) -> list[Stored | None]:
        users.extend(user_ids)
        return await read(user_ids)

    store.read = counting
    return users


def hold_back(around: World) -> tuple[list[Announcement], list]:
    """Intercepts announcements from now on. Returns the list of them, and the callbacks that no longer get them."""
    held: list[Announcement] = []
    (watch,) = around.server._announcements._watches.values()
    callbacks, watch.callbacks = watch.callbacks, [held.append]
    return held, callbacks


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    # Revisions are not read during a test, so streams depend on announcements.
    async with world(kafka, valkey, prefix, reread_seconds=600, heartbeat_seconds=0.2) as around:
        yield around


async def test_an_announced_profile_is_not_read_again(around: World) -> None:
    call = open_stream(around, "ann")
    shown = ids(await next_frame(call))
    users = reading(around)
    for item_id in shown[:5]:
        await record(around, "ann", item_id, event_id=item_id)
        frame = await next_frame(call)
        assert [cause.event_id for cause in frame.caused_by] == [item_id] and item_id not in ids(frame)
    assert not users


async def test_a_call_that_waits_for_an_event_uses_the_announced_profile(kafka, valkey, prefix) -> None:
    async with world(
        kafka, valkey, prefix, read_your_writes_poll_ms=60_000, read_your_writes_poll_max_ms=60_000
    ) as around:
        around.ingest.stalled = True
        token = await record(around, "ann", "item-1")
        watches = around.server._announcements._watches
        wanted = rpc.RecommendRequest(user_id="ann", after=[token])
        asking = asyncio.ensure_future(around.recommendations.Recommend(wanted, timeout=20))
        await eventually(lambda: watches and all(watch.confirmed for watch in watches.values()))
        await asyncio.sleep(0.1)  # The read that the confirmation causes is done by then.
        users = reading(around)
        around.ingest.stalled = False
        answer = await asking
        assert answer.includes_events and not users
        assert "item-1" not in {item.item_id for item in answer.slate.items}


async def test_the_tail_of_an_announced_profile_is_read(around: World) -> None:
    call = open_stream(around, "ann")
    taken = ids(await next_frame(call))[0]
    users = reading(around)
    profile = Profile("ann", has_tail=True, expires_at_ms=now_ms() + 3_600_000)
    tail = Tail().add([(1, hash64(taken))], 5)
    assert await around.server._store.write([Write("ann", 0, profile, tail=tail)]) == [True]
    await until(call, lambda frame: taken not in ids(frame))
    assert not users


async def test_an_announced_profile_that_has_expired_is_read_from_the_store(around: World) -> None:
    call = open_stream(around, "ann")
    await next_frame(call)
    users = reading(around)
    expired = Profile("ann", expires_at_ms=1)
    assert await around.server._store.write([Write("ann", 0, expired)]) == [True]
    await eventually(lambda: users == ["ann"])


async def test_a_lost_announcement_is_recovered_by_reading_revisions(around: World) -> None:
    call = open_stream(around, "ann")
    shown = ids(await next_frame(call))
    held, callbacks = hold_back(around)
    users = reading(around)
    await record(around, "ann", shown[0], event_id="lost")
    await eventually(lambda: held)
    around.server.streams.reread_now()
    await until(call, lambda frame: shown[0] not in ids(frame))
    assert users == ["ann"]
    (watch,) = around.server._announcements._watches.values()
    watch.callbacks = callbacks
    await record(around, "ann", shown[1], event_id="heard")
    frame = await until(call, lambda frame: any(cause.event_id == "heard" for cause in frame.caused_by))
    assert not {shown[0], shown[1]} & set(ids(frame))


async def test_an_older_announcement_that_arrives_late_does_not_revert_a_list(around: World) -> None:
    call = open_stream(around, "ann")
    shown = ids(await next_frame(call))
    held, (tell,) = hold_back(around)
    for item_id in shown[:2]:
        await record(around, "ann", item_id)
    await eventually(lambda: len(held) == 2)
    around.server.streams.reread_now()
    await until(call, lambda frame: not set(shown[:2]) & set(ids(frame)))
    (mailbox,) = around.server.streams._open
    for late in (held[0], held[1], held[0]):
        tell(late)
        for _ in range(3):
            frame = await next_frame(call, beats=True)
            assert frame.HasField("heartbeat") or not set(shown[:2]) & set(ids(frame))
    assert mailbox.revision == held[1].revision


def test_the_newest_announced_profile_is_used_if_newer_than_the_last_read() -> None:
    mailbox = Mailbox()
    mailbox.on_announcement(announcement(5))
    assert brought(mailbox) is None  # The first slate needs a read.
    mailbox.on_profile_read(10)
    for revision in (9, 10):
        mailbox.on_announcement(announcement(revision))
        assert brought(mailbox) is None
    for revision in (12, 13, 11):
        mailbox.on_announcement(announcement(revision))
    assert brought(mailbox) == 13
    assert brought(mailbox) is None  # It was for that slate only.


def test_news_that_arrive_while_waiting_for_a_slot_are_merged() -> None:
    for first, second in ((11, 12), (12, 11)):
        mailbox = Mailbox()
        mailbox.on_profile_read(10)
        mailbox.on_announcement(announcement(first))
        news = mailbox.take()
        mailbox.on_announcement(announcement(second))
        news.add(mailbox.take())
        stored = mailbox.announced(news)
        assert stored is not None and stored.revision == 12


def test_the_store_is_read_if_it_may_have_a_newer_profile() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    mailbox.on_announcement(announcement(11))
    mailbox.check(12)
    assert brought(mailbox) is None
    mailbox.on_announcement(announcement(11))
    mailbox.on_announcement(replace(announcement(1), base_revision=0, revision=0, attached=None))
    assert brought(mailbox) is None  # Announcements before the confirmation may have been missed.
    mailbox.on_profile_unavailable()
    mailbox.on_announcement(announcement(13))
    assert brought(mailbox) is None


def test_a_quiet_announcement_is_used_only_if_a_slate_is_due() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    mailbox.on_announcement(announcement(11, quiet=True))
    assert not mailbox.pending and brought(mailbox) is None
    mailbox.on_announcement(announcement(12))
    mailbox.on_announcement(announcement(13, quiet=True))
    assert brought(mailbox) == 13


def test_an_announcement_without_a_profile_leads_to_a_read() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    mailbox.on_announcement(announcement(11))
    mailbox.on_announcement(replace(announcement(12), attached=None))
    assert brought(mailbox) is None
