"""Without Triton or Valkey, requests are answered in time from a lower tier, and the system recovers by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ingest.verify.store_check import check_store
from local.stack import Stack
from recstream.client import Client, Recommendations, Tier
from tests.drills.world import ITEMS, Events, eventually

REQUESTS = 1_000
# Very long. If each request waited for the missing server, all of them would take an hour.
DEADLINE_SECONDS = 5.0


async def prepare(client: Client, events: Events, users: list[str]) -> None:
    for user in users:
        for item_id in ITEMS[:3]:
            event_id = await events.send(events.new(user, item_id, "like"))
        assert (
            await client.recommend(user, count=10, after_event_ids=[event_id], timeout=5)
        ).tier is Tier.RANKED


@asynccontextmanager
async def gone(stack: Stack, part: str) -> AsyncIterator[None]:
    """Stops this part inside the block, and starts it again afterwards, for the next drill, too."""
    stack.kill_part(part)
    try:
        yield
    finally:
        await stack.start_part(part)


async def answered(
    client: Client,
    users: list[str],
    look: Callable[[int, str, Recommendations], Awaitable[None]],
) -> None:
    """Requests many lists, one after the other. `look` gets number, user and answer of each. A late answer raises."""
    for number in range(REQUESTS):
        user = users[number % len(users)]
        answer = await client.recommend(user, count=10, timeout=DEADLINE_SECONDS)
        assert len(answer) == 10
        await look(number, user, answer)


@pytest.mark.drill
@pytest.mark.timeout(240)
async def test_without_triton_lists_come_from_vectors_and_leave_out_taken_items(stack: Stack) -> None:
    users = [f"patient-{number}" for number in range(20)]
    async with Client(stack.address("server")) as client, Events.to(stack) as events:
        await prepare(client, events, users)
        tiers = set()

        async def like_now_and_then(number: int, user: str, answer: Recommendations) -> None:
            tiers.add(answer.tier)
            if number % 10 == 0:
                liked = answer.item_ids[0]
                event_id = await events.send(events.new(user, liked, "like"))
                after = await client.recommend(user, count=10, after_event_ids=[event_id], timeout=2)
                assert after.includes_events and liked not in after.item_ids

        async with gone(stack, "triton"):
            await answered(client, users, like_now_and_then)
            assert tiers <= {Tier.VECTORS, Tier.POPULAR} and Tier.VECTORS in tiers

        async def tier_is_low() -> str | None:
            answers = [await client.recommend(user, count=10, timeout=5) for user in users]
            return (
                None if all(a.tier is Tier.RANKED for a in answers) else str([a.tier.name for a in answers])
            )

        await eventually("the tier rises by itself", tier_is_low)

        async def states_stale() -> str | None:
            stale = [user for user in users if (await client.profile(user)).profile.model_state_stale]
            return f"stale: {stale}" if stale else None

        await eventually("stale states are folded again", states_stale)
    report = await check_store(stack.settings)
    assert report.equal and report.states_stale == 0, report


@pytest.mark.drill
@pytest.mark.timeout(240)
async def test_without_valkey_lists_are_popular_and_streams_stay(stack: Stack) -> None:
    users = [f"orphan-{number}" for number in range(20)]
    async with Client(stack.address("server")) as client, Events.to(stack) as events:
        await prepare(client, events, users)
        stream = client.stream(users[0], count=10)
        await anext(stream)

        async def is_popular(number: int, user: str, answer: Recommendations) -> None:
            assert answer.profile_unavailable and answer.tier is not Tier.UNSPECIFIED

        async with gone(stack, "valkey"):
            await answered(client, users, is_popular)
            sent = [await events.send(events.new(user, ITEMS[50], "like")) for user in users]

        async def not_applied() -> str | None:
            for user, event_id in zip(users, sent, strict=True):
                answer = await client.recommend(user, count=10, after_event_ids=[event_id], timeout=5)
                if (
                    not answer.includes_events
                    or answer.tier is not Tier.RANKED
                    or ITEMS[50] in answer.item_ids
                ):
                    return f"{user}: {answer.tier.name}, includes_events {answer.includes_events}"
            return None

        await eventually("what was sent meanwhile is applied", not_applied)

        async def names_the_event() -> str | None:
            async with asyncio.timeout(20):
                async for recommendations in stream:
                    if recommendations.tier is Tier.RANKED and ITEMS[50] not in recommendations.item_ids:
                        return None
            return "the stream ended"

        assert await names_the_event() is None
        assert stream.reconnects == 0
        await stream.aclose()
