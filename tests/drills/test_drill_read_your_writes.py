"""Read your writes, while ingest pauses at random."""

import asyncio
import os
import random
import signal

import pytest

from local.stack import Stack
from recstream.client import Client
from tests.drills.world import ITEMS, Events, in_background

TRIALS = 1_000
USERS = 40
DEADLINE_SECONDS = 0.4


async def stumble(pid: int, rng: random.Random) -> None:
    """Pauses ingest for 200 ms at random."""
    while True:
        await asyncio.sleep(rng.uniform(0.1, 1.5))
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.2)
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.drill
@pytest.mark.timeout(300)
async def test_an_answer_includes_the_event_or_says_that_it_does_not(stack: Stack) -> None:
    rng = random.Random(11)
    pid = stack.parts["ingest"].process.pid
    assert pid is not None
    included = 0
    async with (
        Client(stack.address("server")) as client,
        Events.to(stack) as events,
        in_background(stumble(pid, rng)),
    ):
        for trial in range(TRIALS):
            user = f"reader-{trial % USERS}"
            shown = await client.recommend(user, count=5, timeout=5)
            # The list must lose this item, because `like` keeps it off all later lists.
            item_id = shown.item_ids[0] if shown else rng.choice(ITEMS)
            event = events.new(user, item_id, "like")
            event_id = await events.send(event, rng.choice((1, 4)))
            if rng.random() < 0.3:
                event_id = await events.send(event, rng.choice((1, 4)))  # The same event again.
            # A late answer raises.
            answer = await client.recommend(
                user, count=5, after_event_ids=[event_id], timeout=DEADLINE_SECONDS
            )
            included += answer.includes_events
            assert not answer.includes_events or item_id not in answer.item_ids, (
                f"trial {trial}: a false true"
            )
    assert included > TRIALS / 2
