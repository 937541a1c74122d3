"""A fault in a background task of ingest has the effect that the list of tasks names."""

import asyncio
import itertools
from collections.abc import Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from catalog.settings import CatalogSettings
from inference.settings import TritonSettings
from ingest import app
from ingest.app import IngestConfiguration, run
from ingest.settings import IngestSettings
from local.servers.ports import free_port
from profiles.actions import ProfileSettings
from telemetry.background import BackgroundTask, OnFailure, TaskFailed, run_background
from telemetry.dashboards.metrics import every
from tests.ingest.world import MakeWorld, World, get, until
from tests.telemetry.faults import Faults, restarts


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Faults that tests throw into the tasks of every run, including nested lists of tasks."""
    found = Faults()

    async def breakable(tasks: Iterable[BackgroundTask], stop: asyncio.Event | None = None) -> None:
        await run_background(found.into(tasks), stop)

    monkeypatch.setattr(app, "run_background", breakable)
    return found


@pytest.fixture
async def live(make_world: MakeWorld, tmp_path: Path) -> tuple[World, IngestConfiguration]:
    """No model is published. Events are applied without one."""
    world = await make_world(profiles=ProfileSettings())
    return world, IngestConfiguration(
        IngestSettings.model_validate({**world.settings.model_dump(), "health_port": 0}),
        world.kafka,
        world.store_settings,
        world.profiles,
        CatalogSettings(),
        TritonSettings(address=f"127.0.0.1:{free_port()}"),
        tmp_path,
    )


async def begin(configuration: IngestConfiguration, stop: asyncio.Event) -> tuple[asyncio.Task[None], int]:
    listening = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(configuration, stop=stop, listening=listening.set_result))
    return running, await asyncio.wait_for(listening, 30)


async def ready(port: int) -> bool:
    return (await get(port, b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 200


async def test_ingest_survives_a_fault_in_each_task_that_is_retried(
    live: tuple[World, IngestConfiguration], faults: Faults
) -> None:
    world, configuration = live
    stop = asyncio.Event()
    running, port = await begin(configuration, stop)
    await until(lambda: ready(port))
    retried = [name for name, task in faults.tasks.items() if task.on_failure is OnFailure.RETRY]
    label = every()["recstream_background_restarts_total"].values["task"]
    assert "sweeper" in retried and all(label.holds(name) for name in retried)
    for number, name in zip(itertools.count(1), retried, strict=False):
        before = restarts(name)
        faults.throw(name)

        async def restarted(name: str = name, before: float = before) -> bool:
            return restarts(name) == before + 1

        await until(restarted)
        await world.send("ann", f"item-{number}")
        await world.caught_up()
        assert await world.clicks("ann") == number
        assert await ready(port) and not running.done()
    stop.set()
    await asyncio.wait_for(running, 30)


@pytest.mark.parametrize(
    "name",
    ["readiness", "catalog-ready", "shutdown", "interactions", "catalogue", "statistics", "items", "quality"],
)
async def test_a_fault_in_a_fatal_task_ends_the_process(
    live: tuple[World, IngestConfiguration], faults: Faults, name: str
) -> None:
    _, configuration = live
    faults.throw(name)
    with capture_logs() as logs:
        running, port = await begin(configuration, asyncio.Event())
        with pytest.raises(TaskFailed, match=f"{name} failed: Fault"):
            await asyncio.wait_for(running, 60)
    assert faults.tasks[name].on_failure is OnFailure.FATAL
    (line,) = [line for line in logs if line["event"] == "background_task_ends_the_process"]
    assert line["task"] == name and "Fault" in line["cause"]
    with pytest.raises(ConnectionRefusedError):
        await get(port, b"GET /readyz HTTP/1.1\r\n\r\n")


async def test_every_fatal_task_is_tested(live: tuple[World, IngestConfiguration], faults: Faults) -> None:
    _, configuration = live
    stop = asyncio.Event()
    running, port = await begin(configuration, stop)
    await until(lambda: ready(port))
    stop.set()
    await asyncio.wait_for(running, 30)
    assert {name for name, task in faults.tasks.items() if task.on_failure is OnFailure.FATAL} == {
        "readiness", "catalog-ready", "shutdown", "interactions", "catalogue", "statistics", "items", "quality",
    }  # fmt: skip
