"""Runs the demo from end to end."""

import asyncio
import gc
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer
from rich.console import Console

from cli.demo import training
from cli.demo.hit_rates import HitRates
from cli.demo.replay import replay
from cli.demo.stage import Stage
from cli.errors import CommandError
from configuration.settings import Settings
from ingest.consuming.group_lag import wait_caught_up
from ingest.consuming.groups import interactions_group, statistics_group
from ingest.verify.store_check import check_store
from local.stack import Stack
from profiles.store.store import ProfileStore, StoreSettings
from readers.interactions.interactions import Interactions
from readers.messages import interaction_records, item_records
from readers.packaged import movielens
from recstream.client import Client, RecstreamError
from recstream.v1 import item_pb2
from topics.closing import close_client
from topics.names import Topics
from topics.producer import start_producer
from topics.send_all import send_all

TRAINED_SHARE = 0.9
CATCH_UP_SECONDS = 300.0
EMBED_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of the demo.

    Attributes:
        folder: The folder for the model, data and logs. The servers' data is deleted first.
        per_second: Events to replay a second.
        held: Users whose streams stay open.
        limit: Most events to replay. None: all.
    """

    folder: Path
    per_second: float
    held: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Scene:
    """The data of the demo.

    Attributes:
        past: The ratings that the model is trained on.
        rest: The ratings that are replayed.
        films: The catalogue.
    """

    past: Interactions
    rest: Interactions
    films: Sequence[item_pb2.Item]


async def run(settings: Settings, plan: Plan, console: Console) -> dict[str, object]:
    """Trains, starts the stack, replays and measures.

    Returns:
        The figures, ready for JSON.

    Raises:
        CommandError: Training failed, or items were not embedded in time.
        UnreadableFile: The data set is not installed.
        LocalError, RolloutError, IngestError: Another part of the system failed.
    """
    films = movielens.items()
    past, rest = movielens.interactions().split(TRAINED_SHARE)
    bundle = plan.folder / "bundle"
    await training.ensure(past, films, bundle, plan.folder, console)
    # The ratings are from 1997 and 1998. They are shifted so that the past ends now, because profiles would drop older
    # events. A replayed event gets the time when it is sent.
    shift = int(time.time() * 1000) - int(past.time_ms[-1])
    if plan.limit is not None:
        rest = rest.split(min(1.0, plan.limit / len(rest)))[0]
    scene = Scene(past.shifted(shift), rest, films)
    servers = plan.folder / "servers"
    shutil.rmtree(servers, ignore_errors=True)

    def report(part: str, text: str) -> None:
        console.print(f"{part:>8}  {text}", highlight=False, markup=False)

    stack = Stack(settings.model_copy(update={"bundle": bundle}), servers, report=report)
    async with stack, asyncio.TaskGroup() as group:
        supervision = group.create_task(stack.supervise())
        figures = await _live(stack, scene, plan, console)
        supervision.cancel()
    return figures


async def _live(stack: Stack, scene: Scene, plan: Plan, console: Console) -> dict[str, object]:
    kafka = stack.settings.kafka
    producer = await start_producer(kafka)
    try:
        async with Client(stack.address("server")) as client:
            await _fill(stack, scene, producer, client, console)
            before = await _events(stack.settings.store)
            interactions = Topics(kafka.topic_prefix).interactions
            rates = HitRates.after(scene.past, [film.item_id for film in scene.films])
            titles = {film.item_id: film.title for film in scene.films}
            # This process measures when frames arrive. A garbage collection over 100,000 ratings would distort that.
            gc.collect()
            gc.freeze()
            with Stage(console, len(scene.rest), titles) as stage:
                result = await replay(
                    scene.rest, client, producer, interactions,
                    rates=rates, per_second=plan.per_second, held=plan.held,
                    on_list=stage.on_list, advance=stage.advance,
                )  # fmt: skip
    finally:
        await close_client(producer)
    await wait_caught_up(kafka, interactions_group(kafka), interactions, seconds=CATCH_UP_SECONDS)
    applied = await _events(stack.settings.store) - before
    report = await check_store(stack.settings)
    return {
        "events_sent": result.sent,
        "events_applied": applied,
        **result.latencies.summary(),
        **rates.everyone.as_dict(),
        "warm": rates.warm.as_dict(),
        "verified": report.equal,
    }


async def _fill(
    stack: Stack, scene: Scene, producer: AIOKafkaProducer, client: Client, console: Console
) -> None:
    """Imports the catalogue and the past, and waits until everything is embedded, counted and folded."""
    kafka = stack.settings.kafka
    topics = Topics(kafka.topic_prefix)
    with console.status(f"Importing {len(scene.films):,} films and {len(scene.past):,} ratings"):
        await send_all(producer, topics.items, item_records(scene.films))
        await _embedded(client, [film.item_id for film in scene.films])
        await send_all(producer, topics.interactions, interaction_records(scene.past, "film"))
        for behind in (interactions_group(kafka), statistics_group(kafka)):
            await wait_caught_up(kafka, behind, topics.interactions, seconds=CATCH_UP_SECONDS)
    console.print(f"Imported {len(scene.films):,} films and {len(scene.past):,} ratings", highlight=False)


async def _embedded(client: Client, item_ids: Sequence[str]) -> None:
    """Waits until the server has a vector for every item."""
    give_up = time.monotonic() + EMBED_SECONDS
    for item_id in item_ids:
        while True:
            try:
                if (await client.item(item_id)).embedded:
                    break
            except RecstreamError:  # the server has not read the item yet
                pass
            if time.monotonic() > give_up:
                raise CommandError(
                    f"item {item_id} has no vector after {EMBED_SECONDS:g} s", "see ingest's log"
                )
            await asyncio.sleep(0.2)


async def _events(settings: StoreSettings) -> int:
    """Returns the number of events in all profiles."""
    store = await ProfileStore.connect(settings)
    try:
        users = [user async for user in store.scan()]
        found = [await store.read(users[start : start + 256]) for start in range(0, len(users), 256)]
        return sum(stored.profile.events for batch in found for stored in batch if stored is not None)
    finally:
        await store.close()
