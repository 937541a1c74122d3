"""The parts that need no server: causes, the mailbox, admission, pages, deadlines and the ranking limiter."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.announcements.announcement import Announcement, AppliedEvent
from profiles.folding.events import Position
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

TOPIC = b"t" * 16


def applied(partition: int, offset: int) -> AppliedEvent:
    return AppliedEvent(Position(TOPIC, partition, offset), f"{partition}-{offset}", "item", "like", 1, 2)


def announcement(base: int, revision: int, *events: AppliedEvent, quiet: bool = False) -> Announcement:
    return Announcement("u", base, revision, quiet, events)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=300, unique=True))
def test_every_event_is_covered_by_a_cause_however_many_there_are(events) -> None:
    causes = Causes()
    causes.add(applied(*event) for event in events)
    assert len(causes) <= MOST
    named = causes.take({(TOPIC, p): 1000 for p in range(4)}, missed=False)
    for partition, offset in events:
        assert any(c.token.partition == partition and c.token.offset >= offset for c in named)


def test_a_cause_waits_until_the_profile_includes_it() -> None:
    causes = Causes()
    causes.add([applied(0, 5), applied(1, 7)])
    assert [c.event_id for c in causes.take({(TOPIC, 0): 5, (TOPIC, 1): 6}, missed=False)] == ["0-5"]
    assert not causes.all_in({(TOPIC, 0): 9, (TOPIC, 1): 6})
    assert [c.event_id for c in causes.take({(TOPIC, 0): 9, (TOPIC, 1): 7}, missed=False)] == ["1-7"]


def test_events_of_one_record_are_named_together_and_apart() -> None:
    """A record of another producer may be several events at one position."""
    causes = Causes()
    events = [replace(applied(0, 5), event_id=f"order-{number}") for number in range(3)]
    causes.add([applied(0, 4), *events])
    causes.add(events)
    named = causes.take({(TOPIC, 0): 5}, missed=True)
    assert [c.event_id for c in named] == ["0-4", "order-0", "order-1", "order-2"]


def test_of_too_many_events_of_one_record_the_newest_stay() -> None:
    causes = Causes()
    causes.add([applied(1, 9)])
    causes.add(replace(applied(0, 5), event_id=f"order-{number:03}") for number in range(MOST + 5))
    named = [c.event_id for c in causes.take({(TOPIC, 0): 5, (TOPIC, 1): 9}, missed=False)]
    assert named == ["1-9", *(f"order-{number:03}" for number in range(6, MOST + 5))]


def test_an_event_whose_announcement_was_lost_is_named_by_its_position() -> None:
    causes = Causes()
    causes.begin({(TOPIC, 0): 3})
    causes.add([applied(1, 4)])
    named = causes.take({(TOPIC, 0): 8, (TOPIC, 1): 4}, missed=True)
    assert {(c.token.partition, c.token.offset, c.event_id) for c in named} == {(0, 8, ""), (1, 4, "1-4")}
    assert causes.take({(TOPIC, 0): 8, (TOPIC, 1): 4}, missed=True) == []


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
    pages = Pages(ServerSettings(page_seconds=60), lambda: clock[0])
    request = rpc.RecommendRequest(user_id="u")
    token = pages.next(request, frozenset(), ["a", "b"], 5)
    again = rpc.RecommendRequest(user_id="u", page_token=token, count=3)
    served = pages.earlier_items(again)
    assert len(served) == 2
    assert pages.next(again, served, ["c"], 0) == ""
    for at in range(0, len(token), 3):
        bad = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(InvalidRequest):
            pages.earlier_items(rpc.RecommendRequest(user_id="u", page_token=bad))
    clock[0] += 61
    with pytest.raises(InvalidRequest, match="expired"):
        pages.earlier_items(again)


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
