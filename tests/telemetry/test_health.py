"""A process is ready while all of its components are ready, and names the others over HTTP."""

import asyncio
import json

from prometheus_client import CollectorRegistry, Gauge

from telemetry.health import Health
from telemetry.probe_server import ProbeServer


async def ask(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def test_a_process_is_ready_while_every_component_is() -> None:
    health = Health()
    assert health.ready
    health.down("store", "away")
    health.down("catalog", "is being read")
    health.up("store")
    assert not health.ready and health.not_ready == {"catalog": "is being read"}
    health.up("catalog")
    assert health.ready
    health.down("worker", "x" * 1000)
    assert len(health.not_ready["worker"]) == 500
    health.remove("worker")
    assert health.ready


def test_shutting_down_is_a_component() -> None:
    health = Health()
    assert not health.shutting_down
    health.shut_down()
    assert health.shutting_down and health.not_ready == {"process": "is shutting down"}


def test_the_gauge_has_a_series_for_each_component() -> None:
    registry = CollectorRegistry()
    health = Health(Gauge("ready", "", ["component"], registry=registry))
    health.down("store", "away")
    health.up("kafka")
    assert registry.get_sample_value("ready", {"component": "store"}) == 0
    assert registry.get_sample_value("ready", {"component": "kafka"}) == 1
    health.remove("store")
    assert registry.get_sample_value("ready", {"component": "store"}) is None


async def test_a_change_between_two_checks_is_not_missed() -> None:
    health = Health()
    changed = health.changed
    health.down("store", "away")
    await asyncio.wait_for(changed.wait(), 1)
    assert not health.changed.is_set()


async def test_health_over_http() -> None:
    health = Health()
    health.down("store", "away")
    server = ProbeServer(health, "127.0.0.1", 0)
    await server.start()
    try:
        assert (await ask(server.port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
        status, body = await ask(server.port, b"GET /readyz HTTP/1.1\r\n\r\n")
        assert status == 503
        assert json.loads(body) == {"ready": False, "not_ready": {"store": "away"}}
        health.up("store")
        status, body = await ask(server.port, b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
        assert (status, json.loads(body)) == (200, {"ready": True, "not_ready": {}})
        status, body = await ask(server.port, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert status == 200
        assert b"process_resident_memory_bytes" in body
        assert (await ask(server.port, b"GET /nope HTTP/1.1\r\n\r\n"))[0] == 404
        assert (await ask(server.port, b"POST /livez HTTP/1.1\r\n\r\n"))[0] == 405
        assert await ask(server.port, b"HEAD /livez HTTP/1.1\r\n\r\n") == (200, b"")
    finally:
        server.close()
