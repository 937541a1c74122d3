"""The parts that need no server: causes, the mailbox, admission, pages, deadlines and the ranking limiter."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.announcements.announcement import Announcement, AppliedEvent
from profiles.folding.events import Position
from profiles.profile import Entry, Impression, Profile
from recstream.v1 import frame_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import Draining, InvalidRequest, LimitExceeded
from server.requests.admission import Admission
from server.requests.deadline import deadline
from server.requests.pages import Pages
from server.requests.ranking_limiter import Priority, RankingLimiter
from server.requests.task_group import run_task_group
from server.settings import ServerSettings
from server.streaming.causes import MOST, Causes
from server.streaming.mailbox import Mailbox
from server.tokens.keys import TokenKey
from server.tokens.sealing import Sealer

TOPIC = b"t" * 16


def applied(partition: int, offset: int) -> AppliedEvent:
    return AppliedEvent(Position(TOPIC, partition, offset), f"{partition}-{offset}", "item", "like", 1, 2)


def announcement(base: int, revision: int, *events: AppliedEvent, quiet: bool = False) -> Announcement:
    return Announcement("u", base, revision, quiet, events)


def profile(*entries: tuple[int, int], impressions: int = 0, **offsets: int) -> Profile:
    """A profile with these events, by partition and offset, and impressions on partition 9. Its watermarks are those of
    `offsets`, such as p0=5, or the events' own."""
    marks = {(TOPIC, partition): offset for partition, offset in sorted(entries)}
    marks.update({(TOPIC, int(name[1:])): offset for name, offset in offsets.items()})
    marks.update({(TOPIC, 9): impressions - 1} if impressions else {})
    return Profile(
        "u",
        history=tuple(Entry(f"{p}-{o}", "item", "like", 1, Position(TOPIC, p, o)) for p, o in entries),
        impressions=tuple(
            Impression(f"9-{o}", ("item",), 1, Position(TOPIC, 9, o)) for o in range(impressions)
        ),
        watermarks=marks,
    )


def names(causes: list[frame_pb2.Cause]) -> list[str]:
    return [cause.event_id for cause in causes]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=300, unique=True))
def test_the_newest_events_are_named_however_many_there_are(events) -> None:
    causes = Causes()
    causes.add(applied(*event) for event in events)
    assert len(causes) <= MOST
    named = causes.take(profile(p0=1000, p1=1000, p2=1000, p3=1000), missed=False)
    assert names(named) == [f"{partition}-{offset}" for partition, offset in events[-MOST:]]


def test_a_cause_waits_until_the_profile_includes_it() -> None:
    causes = Causes()
    causes.add([applied(0, 5), applied(1, 7)])
    assert names(causes.take(profile(p0=5, p1=6), missed=False)) == ["0-5"]
    assert not causes.all_in({(TOPIC, 0): 9, (TOPIC, 1): 6})
    assert names(causes.take(profile(p0=9, p1=7), missed=False)) == ["1-7"]


def test_events_of_one_record_are_named_together_and_apart() -> None:
    """A record of another producer may be several events at one position."""
    causes = Causes()
    events = [replace(applied(0, 5), event_id=f"order-{number}") for number in range(3)]
    causes.add([applied(0, 4), *events])
    causes.add(events)
    named = causes.take(profile(p0=5), missed=True)
    assert names(named) == ["0-4", "order-0", "order-1", "order-2"]


def test_of_too_many_events_of_one_record_the_newest_stay() -> None:
    causes = Causes()
    causes.add(replace(applied(0, 5), event_id=f"order-{number:03}") for number in range(MOST + 5))
    named = names(causes.take(profile(p0=5), missed=False))
    assert named == [f"order-{number:03}" for number in range(5, MOST + 5)]


def test_an_event_whose_announcement_was_lost_is_found_in_the_history() -> None:
    causes = Causes()
    causes.begin({(TOPIC, 0): 3})
    causes.add([applied(1, 4)])
    now = profile((0, 2), (0, 3), (0, 8), (1, 4))
    named = causes.take(now, missed=True)
    assert names(named) == ["0-8", "1-4"] and not named[0].HasField("record_time")
    assert causes.take(now, missed=True) == []
    assert causes.take(None, missed=True) == []


def test_a_lost_event_is_named_although_a_later_one_was_named_before_it() -> None:
    causes = Causes()
    causes.begin({(TOPIC, 0): 3})
    causes.add([applied(0, 6)])
    now = profile((0, 5), (0, 6))
    assert names(causes.take(now, missed=False)) == ["0-6"]
    assert names(causes.take(now, missed=True)) == ["0-5"]
    causes.add([applied(0, 9)])
    assert names(causes.take(profile((0, 9)), missed=False)) == ["0-9"]
    causes.all_announced()
    assert causes.take(profile((0, 9)), missed=True) == []


def test_impressions_are_named_with_other_news_and_displace_no_event() -> None:
    causes = Causes()
    causes.begin({})
    named = causes.take(profile(*((0, offset) for offset in range(MOST - 1)), impressions=5), missed=True)
    assert len(named) == MOST and names(named)[0] == "9-4" and named[0].action == "impression"


@given(st.data())
def test_events_are_named_once_each_whatever_announcements_are_lost(data: st.DataObject) -> None:
    causes, named = Causes(), []
    events = data.draw(st.lists(st.integers(0, 2), max_size=40))
    start = data.draw(st.integers(0, len(events)))
    log = [(partition, events[:at].count(partition)) for at, partition in enumerate(events)]
    causes.begin({(TOPIC, p): o for p, o in log[:start]})
    for at in range(start, len(log)):
        if lost := data.draw(st.booleans()):
            pass
        else:
            causes.add([applied(*log[at])])
        missed = data.draw(st.booleans()) if lost else False
        named += names(causes.take(profile(*log[: at + 1]), missed=missed))
    named += names(causes.take(profile(*log), missed=True))
    assert sorted(named) == sorted(f"{partition}-{offset}" for partition, offset in log[start:])


def test_an_announcement_of_a_profile_already_read_needs_no_new_list() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    mailbox.on_announcement(announcement(9, 10, applied(0, 1)))
    news = mailbox.take()
    assert news.urgent and not mailbox.calls_for(news)
    mailbox.on_announcement(announcement(10, 11, applied(0, 2)))
    assert mailbox.calls_for(mailbox.take())


def test_quiet_announcements_wake_no_stream() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    mailbox.on_announcement(announcement(10, 11, quiet=True))
    assert not mailbox.pending


def test_a_lost_announcement_is_missed_after_a_whole_period_and_only_once() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    mailbox.check(10)
    assert not mailbox.pending
    mailbox.check(12)  # The announcement may still arrive.
    assert mailbox.pending and not mailbox.take().missed
    mailbox.on_profile_read(12)
    mailbox.check(12)
    assert mailbox.take().missed
    mailbox.check(12)
    mailbox.check(12)
    assert not mailbox.pending


def test_announcements_out_of_order_form_a_complete_chain() -> None:
    mailbox = Mailbox()
    mailbox.on_profile_read(10)
    for base, revision in ((12, 13), (11, 12), (10, 11)):
        mailbox.on_announcement(announcement(base, revision, quiet=True))
    mailbox.on_profile_read(13)
    mailbox.check(13)
    mailbox.check(13)
    assert not mailbox.pending


def test_limits_hold_and_ended_calls_free_their_slots() -> None:
    admission = Admission(ServerSettings(max_streams=2, max_streams_per_user=1, max_unary=1))
    with admission.stream("a"):
        with pytest.raises(LimitExceeded) as caught, admission.stream("a"):
            pass
        assert caught.value.retry_after_ms
        with admission.stream("b"), pytest.raises(LimitExceeded), admission.stream("c"):
            pass
    with admission.stream("a"), admission.call(), pytest.raises(LimitExceeded), admission.call():
        pass
    assert admission.streams == admission.unary == 0
    admission.close()
    with pytest.raises(Draining), admission.stream("a"):
        pass


@given(st.floats(0.001, 100))
def test_a_deadline_always_leaves_time_to_answer(remaining: float) -> None:
    limit = deadline(remaining, ServerSettings(), clock=lambda: 1000.0)
    assert limit.events <= limit.answer < limit.client
    assert limit.answer >= 1000 + min(remaining, 30) * 0.6


def test_an_expired_or_damaged_page_token_is_refused() -> None:
    clock = [1000.0]
    pages = Pages(Sealer([TokenKey.random()]), ServerSettings(page_seconds=60), lambda: clock[0])
    request = rpc.RecommendRequest(user_id="u")
    token = pages.next(request, frozenset(), ["a", "b"], 5)
    again = rpc.RecommendRequest(user_id="u", page_token=token, count=3)
    served = pages.earlier_items(again)
    assert len(served) == 2
    assert pages.next(again, served, ["c"], 0) == ""
    for at in range(len(token)):
        bad = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(InvalidRequest):
            pages.earlier_items(rpc.RecommendRequest(user_id="u", page_token=bad))
    clock[0] += 61
    with pytest.raises(InvalidRequest, match="expired"):
        pages.earlier_items(again)


def test_the_page_token_of_the_longest_session_has_at_most_11_kib() -> None:
    settings = ServerSettings()
    pages = Pages(Sealer([TokenKey.random()]), settings)
    request = rpc.RecommendRequest(user_id="u")
    most = settings.page_items - 1
    request.page_token = pages.next(request, frozenset(), [f"item-{n}" for n in range(most)], 5)
    assert len(request.page_token) <= 11 * 1024 and len(pages.earlier_items(request)) == most
    assert pages.next(request, pages.earlier_items(request), ["another"], 5) == ""


async def test_a_waiting_bulk_stream_gets_an_event_slot_when_its_user_acts() -> None:
    limiter = RankingLimiter(2)
    hurry = asyncio.Event()
    entered = asyncio.Event()

    async def in_turn() -> None:
        async with limiter.slot(Priority.BULK, hurry):
            entered.set()

    async with limiter.slot(Priority.BULK, asyncio.Event()):
        waiting = asyncio.create_task(in_turn())
        await asyncio.sleep(0.01)
        assert limiter.busy(Priority.BULK) and not entered.is_set()
        hurry.set()
        await asyncio.wait_for(waiting, 5)
    assert not any(limiter.busy(priority) for priority in Priority)


async def test_a_cancelled_wait_leaks_no_slot() -> None:
    limiter = RankingLimiter(2)
    async with limiter.slot(Priority.BULK, asyncio.Event()):
        waits = [
            asyncio.create_task(limiter.slot(Priority.BULK, asyncio.Event()).__aenter__()) for _ in range(5)
        ]
        await asyncio.sleep(0.01)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    assert not limiter.busy(Priority.BULK)


async def test_a_task_group_raises_the_first_error_itself_and_cancels_the_others() -> None:
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def fails() -> None:
        raise Draining(5)

    with pytest.raises(Draining):
        await run_task_group(endless(), fails())
    assert ended.is_set()
