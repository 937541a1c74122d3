"""Checks which servers answer, at the addresses of the settings or of the last `recstream up`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from catalog.version_watcher import read_versions
from cli.doctor.finding import Finding, Level
from configuration.settings import Settings
from local.installation import with_installation
from local.servers.ports import remembered_port
from profiles.errors import ProfilesError
from profiles.store.store import ProfileStore
from topics.create import check_topics
from topics.errors import TopicsError

_SECONDS = 3.0
_START = "`recstream up` starts it, or set its address"


async def reach(settings: Settings, data: Path) -> AsyncIterator[Finding]:
    """Checks Kafka and its topics, published versions, Valkey, Triton and the server.

    A server that does not answer is a NOTE, because no server has to run.
    """
    settings = with_installation(settings, data)
    yield await _kafka(settings)
    yield await _versions(settings)
    yield await _valkey(settings)
    yield await _health(f"Triton at {settings.triton.address}", settings.triton.address)
    server = f"127.0.0.1:{remembered_port(data / 'server', 'grpc') or settings.server.port}"
    yield await _health(f"the server at {server}", server)


async def _kafka(settings: Settings) -> Finding:
    what = f"Kafka at {settings.kafka.bootstrap}"
    try:
        problems = await check_topics(settings.kafka, settings.profiles.time_to_live_days, timeout=_SECONDS)
    except TopicsError:
        return Finding(what, Level.NOTE, "does not answer", _START)
    if problems:
        return Finding(
            what, Level.NOTE, "; ".join(map(str, problems))[:500], "`recstream topics create`, then `check`"
        )
    return Finding(what, Level.OK, "answers, and the topics are as they should be")


async def _versions(settings: Settings) -> Finding:
    what = "model versions"
    try:
        quick = settings.kafka.model_copy(update={"request_timeout_ms": int(_SECONDS * 1000)})
        record = await read_versions(quick)
    except TopicsError:
        return Finding(what, Level.NOTE, "cannot be read from Kafka", _START)
    if not record.next.version:
        return Finding(what, Level.NOTE, "none is published", "`recstream model publish BUNDLE`")
    found = f"version {record.next.version} answers {record.share:.0%} of the users"
    if record.base.version:
        found += f", version {record.base.version} the others"
    return Finding(what, Level.OK, found)


async def _valkey(settings: Settings) -> Finding:
    what = f"Valkey at {', '.join(settings.store.addresses)}"
    try:
        async with asyncio.timeout(_SECONDS):
            store = await ProfileStore.connect(settings.store)
            try:
                await store.ping(_SECONDS)
            finally:
                await store.close()
    except (ProfilesError, TimeoutError, OSError):
        return Finding(what, Level.NOTE, "does not answer", _START)
    return Finding(what, Level.OK, "answers")


async def _health(what: str, address: str) -> Finding:
    """Checks a server by grpc.health.v1, which Triton serves as well."""
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest()
            # The package's stub sets its methods in its constructor, so type checkers do not see them.
            answer = await stub.Check(request, timeout=_SECONDS)  # type: ignore[attr-defined]
    except grpc.aio.AioRpcError as error:
        return Finding(what, Level.NOTE, f"does not answer ({error.code().name})", _START)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return Finding(what, Level.OK, "ready")
    return Finding(what, Level.NOTE, "answers, but is not ready", "its log says what it waits for")
