"""The replay: sends every held-out event, requests a list just before it, and keeps streams open."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from cli.demo.hit_rates import HitRates
from cli.demo.latencies import Latencies, Sent
from readers.interactions.interactions import Interactions
from readers.messages import interaction_message
from recstream.client import Client, Recommendations

LIKED = 4.0
COUNT = 10
STREAM_START_SECONDS = 20.0
LAST_FRAMES_SECONDS = 5.0

OnList = Callable[[str, Recommendations], None]


@dataclass(slots=True)
class Replay:
    """The results of the replay. `sent` is the number of events that Kafka has acknowledged."""

    rates: HitRates
    latencies: Latencies = field(default_factory=Latencies)
    sent: int = 0


async def replay(
    rows: Interactions,
    client: Client,
    producer: AIOKafkaProducer,
    topic: str,
    *,
    rates: HitRates,
    per_second: float,
    held: int,
    on_list: OnList,
    advance: Callable[[], None],
) -> Replay:
    """Sends the rows in order at a steady rate. Keeps the streams of the most active users open.

    An event's time is the time when it is sent. Before each event with a rating of four or more it requests the user's
    list, which must include the user's earlier events.

    Args:
        rows: The events.
        client: Requests lists and opens streams.
        producer: Sends the events.
        topic: The topic of interactions.
        rates: Judges the lists.
        per_second: Events to send a second.
        held: Users whose streams stay open.
        on_list: Gets every list that a stream brings.
        advance: Called after each event.
    """
    result = Replay(rates)
    held_users = [user for user, _ in Counter(rows.user_ids).most_common(held)]
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        opened = [asyncio.Event() for _ in held_users]
        streams = [
            group.create_task(_hold(client, user, event, result.latencies, on_list))
            for user, event in zip(held_users, opened, strict=True)
        ]
        async with asyncio.timeout(STREAM_START_SECONDS):
            for event in opened:
                await event.wait()
        watched = set(held_users)
        last: dict[str, str] = {}
        start = time.monotonic()
        for row in range(len(rows)):
            await asyncio.sleep(max(0.0, start + row / per_second - time.monotonic()))
            await _one(rows, row, client, producer, topic, last, result, watched)
            advance()
        await asyncio.sleep(LAST_FRAMES_SECONDS)
        for task in streams:
            task.cancel()
    return result


async def _one(
    rows: Interactions,
    row: int,
    client: Client,
    producer: AIOKafkaProducer,
    topic: str,
    last: dict[str, str],
    result: Replay,
    watched: set[str],
) -> None:
    user, item = rows.user_ids[row], rows.item_ids[row]
    if rows.values[row] >= LIKED:
        published = [last[user]] if user in last else []
        answer = await client.recommend(user, count=COUNT, after_event_ids=published)
        result.rates.judge(user, item, [ranked.item_id for ranked in answer])
    message = interaction_message(rows, row, "film")
    message.event_time.GetCurrentTime()
    at = time.monotonic()
    await producer.send_and_wait(topic, key=user.encode(), value=message.SerializeToString())
    result.sent += 1
    result.rates.observe(user, item)
    last[user] = message.event_id
    if user in watched:
        result.latencies.sent[user].append(Sent(message.event_id, at))


async def _hold(
    client: Client, user: str, opened: asyncio.Event, latencies: Latencies, on_list: OnList
) -> None:
    async for recommendations in client.stream(user, count=COUNT):
        latencies.frame(user, time.monotonic(), recommendations.causes)
        opened.set()
        on_list(user, recommendations)
