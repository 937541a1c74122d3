"""Every part is killed, again and again, while events flow and streams are open."""

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import pytest

from ingest.consuming.group_lag import wait_caught_up
from ingest.consuming.groups import interactions_group
from local.stack import Stack
from recstream.client import Client, Recommendations
from recstream.v1.interaction_pb2 import Interaction
from tests.drills.world import ITEMS, Events, eventually, in_background

PARTS = ("ingest", "server", "triton", "valkey", "kafka")
TIMES = 5
USERS = tuple(f"user-{number}" for number in range(12))
HISTORY = 96


def oracle(events: Sequence[Interaction]) -> list[str]:
    """Returns the ids of the newest events, sorted independently: what a profile must hold."""
    return [e.event_id for e in sorted(events, key=lambda e: (e.event_time.ToMilliseconds(), e.event_id))][
        -HISTORY:
    ]


@pytest.mark.drill
@pytest.mark.timeout(600)
async def test_no_acknowledged_event_is_lost_or_doubled_and_every_stream_is_up_to_date_in_the_end(
    stack: Stack,
) -> None:
    rng = random.Random(7)
    newest: dict[str, Recommendations] = {}
    killed = asyncio.Event()

    async def hold(client: Client, user: str) -> None:
        async for recommendations in client.stream(user, count=10):
            newest[user] = recommendations

    async def send_for(events: Events, user: str) -> None:
        # Ended between two events, never within one, because an event that is cancelled on its way may still count.
        while not killed.is_set():
            await events.send(events.new(user, rng.choice(ITEMS)), partition=rng.choice((None, None, 0, 3)))
            await asyncio.sleep(rng.uniform(0.05, 0.4))

    async with (
        Client(stack.address("server")) as client,
        Events.to(stack) as events,
        in_background(*(hold(client, user) for user in USERS)),
    ):
        async with asyncio.TaskGroup() as senders:
            for user in USERS:
                senders.create_task(send_for(events, user))
            await kill_everything(stack, rng)
            killed.set()
        kafka = stack.settings.kafka
        await wait_caught_up(kafka, interactions_group(kafka), events.topic, seconds=60)
        for user in USERS:
            sent = list(events.acknowledged[user].values())
            assert len(sent) > 20
            await eventually(
                "every acknowledged event counts once", partial(profile_problem, client, user, sent)
            )
            await eventually(
                "a stream's last list is a fresh one", partial(list_problem, client, user, newest)
            )


async def kill_everything(stack: Stack, rng: random.Random) -> None:
    order = [part for part in PARTS for _ in range(TIMES)]
    rng.shuffle(order)
    for part in order:
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        stack.kill_part(part)
        await asyncio.sleep(rng.uniform(0.0, 0.7))
        await stack.start_part(part)
        alive = {name: child.process.running for name, child in stack.parts.items()}
        assert all(alive.values()), f"after {part} was killed and started: {alive}"


async def profile_problem(client: Client, user: str, sent: list[Interaction]) -> str | None:
    profile = (await client.profile(user)).profile
    held, expected = [entry.event_id for entry in profile.history], oracle(sent)
    if held != expected:
        missing, unknown = sorted(set(expected) - set(held)), sorted(set(held) - set(expected))
        return f"{user}: of {len(expected)} newest events {missing} are missing, {unknown} are not expected"
    total = sum(profile.totals.values())
    return None if total == len(sent) else f"{user}: {total} counted of {len(sent)}"


async def list_problem(client: Client, user: str, newest: dict[str, Recommendations]) -> str | None:
    fresh = await client.recommend(user, count=10)
    held = newest[user]
    if (held.tier, held.item_ids) == (fresh.tier, fresh.item_ids):
        return None
    return f"{user}: {held.tier.name} {held.item_ids} held, {fresh.tier.name} {fresh.item_ids} fresh"
