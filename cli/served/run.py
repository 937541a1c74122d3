"""The lists of a split, asked of a running server: a private stack is filled, and told each event at its turn."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from cli.input.files import Files
from cli.served.front_door import FrontDoor
from cli.served.items import catalogue
from cli.served.private import private
from cli.served.told import Told, interaction, turns
from configuration.errors import CommandError
from configuration.settings import Settings
from evaluation.metrics.measure import AT
from evaluation.protocols.split import Split
from ingest.consuming.groups import interactions_group, statistics_group
from local.stack import Stack
from models.data.events import Events, Ints
from profiles.interactions import check
from recstream.client import RecstreamError
from recstream.v1 import interaction_pb2
from rollout.consumer_lag import wait_caught_up
from topics.names import Topics

_FILL_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, and with what. held_out: how many asks there are of which the split has some. work: the folder in
    which the stack's own is made; it stays where something went wrong, for its logs."""

    settings: Settings
    bundle: Path
    files: Files
    test: Split
    held_out: int
    work: Path
    console: Console
    show: Progress


async def served_lists(plan: Plan) -> list[Ints]:
    """For each ask of the split the items of the list of ten that the server gave, best first.

    Raises CommandError.
    """
    oldest = int(plan.test.known.time_ms[0])
    check_taken(plan.test.known, private(plan.settings, plan.bundle, plan.work, oldest))
    folder = _folder(plan.work)
    settings = private(plan.settings, plan.bundle, folder, oldest)

    def report(part: str, text: str) -> None:
        plan.console.print(f"{part:>8}  {text}", highlight=False, markup=False)

    stack = Stack(settings, folder, report=report)
    failed = False
    try:
        async with stack, asyncio.TaskGroup() as group:
            supervision = group.create_task(stack.supervise())
            async with FrontDoor.of(stack) as door:
                lists = await _asked(plan, stack, door, turns(plan.test))
            supervision.cancel()
    except* (CommandError, RecstreamError) as errors:
        failed = True
        raise _with_folder(errors, folder) from errors
    finally:
        if not failed:
            shutil.rmtree(folder, ignore_errors=True)
    return lists


async def _asked(plan: Plan, stack: Stack, door: FrontDoor, order: Told) -> list[Ints]:
    test, show = plan.test, plan.show
    known, asks = test.known, test.asks
    task = show.add_task("Items through the front door", total=len(known.item_ids))
    await door.put(catalogue(plan.files, known.item_ids), known.item_ids, partial(show.advance, task))
    first = int(order.before[0])
    task = show.add_task("What is learned from", total=first)
    await door.tell(_messages(known, order.rows[:first]), partial(show.advance, task))
    kafka = stack.settings.kafka
    topic = Topics(kafka.topic_prefix).interactions
    for behind in (interactions_group(kafka), statistics_group(kafka)):
        await wait_caught_up(kafka, behind, topic, seconds=_FILL_SECONDS)
    task = show.add_task("Lists of the server", total=len(asks))
    index = {item_id: place for place, item_id in enumerate(known.item_ids)}
    lists, at = [], first
    for place, before in enumerate(order.before.tolist()):
        await door.tell(_messages(known, order.rows[at:before]))
        at = before
        user_id = known.user_ids[asks.users[place]]
        listed = await door.ask(user_id, int(asks.time_ms[place]), AT)
        lists.append(np.array([index[item_id] for item_id in listed], np.int64))
        show.advance(task)
    return lists


def _folder(work: Path) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="served-", dir=work)).absolute()


def _messages(known: Events, rows: Ints) -> Iterator[interaction_pb2.Interaction]:
    return (interaction(known, row) for row in rows.tolist())


def check_taken(known: Events, settings: Settings) -> None:
    """Raises CommandError where an event is such that no server would take it: then there is nothing to compare."""
    now_ms = int(time.time() * 1000)
    for row in range(len(known)):
        message = interaction(known, row)
        if problems := check(message, now_ms, settings.profiles):
            raise CommandError(
                f"no server would take the event of user {message.user_id[:40]!r} on item {message.item_id[:40]!r}: "
                + "; ".join(f"{field} {problem}" for field, problem in problems),
                "leave it out of the files, or change the settings of profiles that refuse it",
            )


def _with_folder(errors: BaseExceptionGroup[Exception], folder: Path) -> CommandError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    logs = f"the logs are in {folder}"
    if isinstance(error, CommandError):
        return CommandError(error.what, f"{error.next_step}; {logs}" if error.next_step else logs)
    return CommandError(f"the server answered: {error}", logs)
