"""Several ingest processes are stopped, resumed and killed in the middle of their work."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from profiles.times import timestamp
from recstream.v1.interaction_pb2 import Interaction
from tests.ingest.world import T0, MakeWorld, World

ROOT = Path(__file__).parents[2]
Start = Callable[[World], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    running: list[asyncio.subprocess.Process] = []

    async def begin(world: World) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "tests" / "ingest" / "process.py"),
            world.kafka.bootstrap,
            world.kafka.topic_prefix,
            world.store_settings.addresses[0],
            str(world.kafka.partitions),
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in (".", "protos")),
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()


def click(n: int, user: str) -> Interaction:
    return Interaction(
        event_id=f"e{n}", user_id=user, item_id=f"i{n}", action="click", event_time=timestamp(T0 + n)
    )


@pytest.mark.drill
@pytest.mark.timeout(180)
async def test_two_processes_and_a_user_on_two_partitions_lose_no_event(
    make_world: MakeWorld, start: Start
) -> None:
    world = await make_world(partitions=2)
    await start(world)
    await start(world)
    await world.send_many([click(n, "ann") for n in range(2000)], lambda place: place % 2)
    await world.caught_up(120)
    assert await world.clicks("ann") == 2000
    assert await world.history("ann") == [f"i{n}" for n in range(1988, 2000)]
    report = await world.verified()
    assert report.equal, report.differences


@pytest.mark.drill
@pytest.mark.timeout(300)
async def test_a_process_that_sleeps_through_a_rebalance_changes_nothing(
    make_world: MakeWorld, start: Start
) -> None:
    world = await make_world(partitions=2)
    first = await start(world)
    await world.send_many([click(n, "ann") for n in range(200)], lambda place: place % 2)
    await world.caught_up()
    sending = asyncio.create_task(
        world.send_many([click(n, "ann") for n in range(200, 3000)], lambda place: place % 2)
    )
    await asyncio.sleep(random.uniform(0.05, 0.3))
    first.send_signal(signal.SIGSTOP)  # somewhere between a read and a commit
    await sending
    await start(world)
    await world.send_many([click(n, "ann") for n in range(3000, 3020)], lambda place: place % 2)

    await world.caught_up(120)
    first.send_signal(signal.SIGCONT)
    await world.send_many([click(n, "ann") for n in range(3020, 3040)], lambda place: place % 2)
    await world.caught_up(120)
    assert first.returncode is None
    assert await world.clicks("ann") == 3040
    report = await world.verified()
    assert report.equal, report.differences


@pytest.mark.drill
@pytest.mark.timeout(300)
async def test_processes_killed_under_load_lose_and_repeat_nothing(
    make_world: MakeWorld, start: Start
) -> None:
    world = await make_world(partitions=2)
    stop = asyncio.Event()

    async def flow() -> int:
        sent = 0
        while not stop.is_set():
            await world.send_many([click(sent + n, f"u{n % 5}") for n in range(20)], lambda place: place % 2)
            sent += 20
        return sent

    flowing = asyncio.create_task(flow())
    victim = await start(world)
    for _ in range(3):
        await asyncio.sleep(random.uniform(3, 5))
        other = await start(world)
        await asyncio.sleep(random.uniform(1, 3))
        victim.kill()
        victim = other
    stop.set()
    sent = await flowing
    await world.caught_up(120)
    assert sum([await world.clicks(f"u{n}") for n in range(5)]) == sent
    report = await world.verified()
    assert report.equal, report.differences
