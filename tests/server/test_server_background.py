"""A fault in any background task of a server has the consequence that its entry in the list declares."""

import asyncio
import itertools

import pytest
from structlog.testing import capture_logs

from catalog import catalog as catalog_module
from inference.settings import TritonSettings
from local.servers.ports import free_port
from ranking.settings import RankingSettings
from recstream.v1 import interaction_service_pb2, item_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from server import app
from server.app import Server, serve
from server.config import ServerConfig
from server.settings import ServerSettings
from telemetry.background import BackOff, OnFailure, TaskFailed
from telemetry.dashboards.metrics import every
from tests.server.world import SmallModel, World, event, eventually, world
from tests.telemetry.faults import Faults, restarts
from topics.producer import start_producer
from topics.settings import KafkaSettings


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Throws faults into the tasks of every server of the test."""
    monkeypatch.setattr(catalog_module, "_MERGE_BACK_OFF", BackOff())
    found, listed = Faults(), Server.background
    monkeypatch.setattr(Server, "background", lambda self: tuple(found.into(listed(self))))
    return found


async def event_reaches_the_stream(around: World, call, number: int) -> None:
    """Records an event, and waits until it has passed through Kafka, the profile and its announcement to the stream."""
    record = interaction_service_pb2.RecordRequest(
        interaction=event("ann", f"item-{number}", event_id=f"e{number}")
    )

    async def recorded() -> bool:
        try:
            await around.interactions.Record(record, timeout=5)
        except Exception:
            return False
        return True

    await eventually(recorded)
    async with asyncio.timeout(20):
        while True:
            answer = await call.read()
            if f"e{number}" in {cause.event_id for cause in answer.frame.caused_by}:
                return


async def item_arrives(around: World, number: int) -> None:
    producer = await start_producer(around.kafka)
    item = item_pb2.Item(item_id=f"new-{number}", title="New")
    await producer.send_and_wait(around.kafka.topics.items, item.SerializeToString(), item.item_id.encode())
    await producer.stop()
    await eventually(lambda: around.server.catalog.row(f"new-{number}") is not None)


async def test_a_server_survives_a_fault_in_each_retried_task(kafka, valkey, prefix, faults: Faults) -> None:
    async with world(kafka, valkey, prefix) as around:
        call = around.recommendations.StreamRecommendations(
            rpc.StreamRecommendationsRequest(user_id="ann", count=10)
        )
        numbers = itertools.count()
        await event_reaches_the_stream(around, call, next(numbers))
        retried = [name for name, task in faults.tasks.items() if task.on_failure is OnFailure.RETRY]
        label = every()["recstream_background_restarts_total"].values["task"]
        assert len(retried) >= 10 and all(label.holds(name) for name in retried)
        for name in retried:
            before = restarts(name)
            faults.throw(name)
            await eventually(lambda name=name, before=before: restarts(name) == before + 1)
            number = next(numbers)
            await event_reaches_the_stream(around, call, number)
            await item_arrives(around, number)
            answer = await around.recommendations.Recommend(rpc.RecommendRequest(user_id="ann"), timeout=5)
            assert len(answer.slate.items) == 20
            assert not around.server.health.not_ready and not around.server.failed.done()
        call.cancel()


@pytest.mark.parametrize("name", ["readiness", "catalog-ready"])
async def test_a_fault_in_a_fatal_task_ends_readiness_and_the_server(
    kafka, prefix, faults: Faults, name: str
) -> None:
    server = Server(nowhere(kafka.bootstrap, prefix), SmallModel())
    faults.throw(name)
    with capture_logs() as logs:
        await server.start()
        try:
            with pytest.raises(TaskFailed, match=f"{name} failed: Fault"):
                await asyncio.wait_for(asyncio.shield(server.failed), 30)
            assert faults.tasks[name].on_failure is OnFailure.FATAL
            assert "process" in server.health.not_ready
        finally:
            await server.close()
    (line,) = [line for line in logs if line["event"] == "background_task_ends_the_process"]
    assert line["task"] == name and "Fault" in line["cause"]


async def test_every_task_is_either_retried_or_one_of_the_fatal_ones(kafka, prefix, faults: Faults) -> None:
    server = Server(nowhere(kafka.bootstrap, prefix), SmallModel())
    await server.start()
    await server.close()
    fatal = {name for name, task in faults.tasks.items() if task.on_failure is OnFailure.FATAL}
    assert fatal == {"readiness", "catalog-ready"}


async def test_the_process_drains_and_ends_with_the_failure(
    kafka, prefix, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    drained: list[bool] = []
    drain = Server.drain

    async def noted(self: Server, cut: asyncio.Event | None = None) -> None:
        drained.append(bool(self.health.not_ready))
        await drain(self, cut)

    monkeypatch.setattr(app.Server, "drain", noted)
    faults.throw("readiness")
    with pytest.raises(TaskFailed, match="readiness failed"):
        await asyncio.wait_for(
            serve(nowhere(kafka.bootstrap, prefix), TritonSettings(address=f"127.0.0.1:{free_port()}")), 60
        )
    assert drained == [True]


def nowhere(bootstrap: str, prefix: str) -> ServerConfig:
    """The settings of a server whose topics do not exist, so that it is never ready."""
    return ServerConfig(
        server=ServerSettings(host="127.0.0.1", port=0, http_port=0, drain_seconds=1),
        kafka=KafkaSettings(bootstrap=bootstrap, topic_prefix=prefix),
        ranking=RankingSettings(),
    )
