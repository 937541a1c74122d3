"""The server without Kafka or Valkey, its health, and its shutdown."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.valkey import EmbeddedValkey
from recstream.v1 import interaction_service_pb2, profile_service_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from server.app import SERVICES, Server
from server.config import ServerConfig
from server.requests.status import DETAILS_KEY, unpack
from server.settings import ServerSettings
from tests.server.world import SmallModel, event, eventually, fill_catalogue, world
from topics.create import create_topics
from topics.settings import KafkaSettings


async def frame_of(call, claim):
    async with asyncio.timeout(60):
        while True:
            answer = await call.read()
            assert answer is not grpc.aio.EOF
            if claim(answer.frame):
                return answer.frame


async def http(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


async def test_streams_survive_an_outage_of_the_store_and_catch_up(kafka, prefix, tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey", free_port())
    await valkey.start()
    try:
        async with world(kafka, valkey, prefix, heartbeat_seconds=0.3) as around:
            record = around.interactions.Record
            await record(
                interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1")), timeout=10
            )
            ask = rpc.StreamRecommendationsRequest(user_id="ann", count=10)
            call = around.recommendations.StreamRecommendations(ask)
            await frame_of(call, lambda frame: frame.HasField("snapshot"))
            valkey.kill()
            answer = await around.recommendations.Recommend(rpc.RecommendRequest(user_id="ann"), timeout=5)
            assert answer.slate.profile_unavailable and len(answer.slate.items) == 20
            opened = around.recommendations.StreamRecommendations(ask)
            popular = await frame_of(opened, lambda frame: frame.HasField("snapshot"))
            assert popular.snapshot.slate.profile_unavailable
            for _ in range(3):
                await frame_of(call, lambda frame: frame.HasField("heartbeat"))
            await record(
                interaction_service_pb2.RecordRequest(interaction=event("ann", "item-2", event_id="late")),
                timeout=10,
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await around.profiles.GetProfile(
                    profile_service_pb2.GetProfileRequest(user_id="ann"), timeout=5
                )
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert (await http(around.server.probes.port, "/readyz"))[0] == 200
            # If each call waited for the store until its deadline, they would take half an hour.
            for _ in range(200):
                quick = await around.recommendations.Recommend(
                    rpc.RecommendRequest(user_id="ann"), timeout=10
                )
                assert quick.slate.profile_unavailable
            await valkey.start()
            for stream in (call, opened):
                frame = await frame_of(
                    stream, lambda frame: any(c.event_id in ("late", "") for c in frame.caused_by)
                )
                assert "item-2" not in {item.item_id for item in frame.snapshot.slate.items}
                assert not frame.snapshot.slate.profile_unavailable
    finally:
        valkey.kill()


@pytest.mark.drill
async def test_without_kafka_writes_are_refused_in_time_and_lists_are_served(
    valkey, prefix, tmp_path: Path
) -> None:
    kafka = EmbeddedKafka(tmp_path / "kafka", free_port())
    await kafka.start()
    try:
        async with world(kafka, valkey, prefix, answer_reserve_ms=1_000) as around:
            write = interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1", event_id="e1"))
            await around.interactions.Record(write, timeout=10)
            kafka.kill()
            for _ in range(3):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await around.interactions.Record(write, timeout=2)
                # The server's refusal, not the client's own deadline.
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())[DETAILS_KEY])
                assert unpack(status, error_details_pb2.RetryInfo) is not None
            # More events than may be unanswered at once: each has its result before the deadline.
            many = [event("ann", "item-1", event_id=f"b{n}") for n in range(600)]
            batch = interaction_service_pb2.BatchRecordRequest(interactions=many)
            results = (await around.interactions.BatchRecord(batch, timeout=3)).results
            assert [result.refused.code for result in results] == [code_pb2.UNAVAILABLE] * 600
            answer = await around.recommendations.Recommend(rpc.RecommendRequest(user_id="ann"), timeout=5)
            assert len(answer.slate.items) == 20
            assert (await http(around.server.probes.port, "/readyz"))[0] == 200
            await kafka.start()
            write.interaction.event_id = "e2"

            async def recorded() -> bool:
                try:
                    await around.interactions.Record(write, timeout=5)
                except grpc.aio.AioRpcError:
                    return False
                return True

            await eventually(recorded, 60)
    finally:
        kafka.kill()


@pytest.mark.drill
async def test_a_server_shuts_down_without_kafka(valkey, prefix, tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path / "kafka", free_port())
    await kafka.start()
    try:
        async with asyncio.timeout(60), world(kafka, valkey, prefix) as around:
            kafka.kill()
            write = interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1", event_id="e1"))
            with pytest.raises(grpc.aio.AioRpcError):
                await around.interactions.Record(write, timeout=0.5)
            await around.recommendations.Recommend(rpc.RecommendRequest(user_id="ann"), timeout=5)
    finally:
        kafka.kill()


async def test_a_recreated_topic_gives_tokens_with_its_new_id(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix, partitions=1, topic_check_seconds=3600) as around:
        write = interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1"))
        old = [(await around.interactions.Record(write, timeout=10)).token for _ in range(3)]
        await around.server._writer.states([around.kafka.topics.interactions], time.monotonic() + 10)
        around.ingest.stalled = True
        from confluent_kafka.admin import AdminClient

        admin = AdminClient(around.kafka.admin_options())
        topic = around.kafka.topics.interactions
        await asyncio.to_thread(lambda: admin.delete_topics([topic])[topic].result(30))
        await eventually(lambda: created(around.kafka))

        async def recorded():
            try:
                return (await around.interactions.Record(write, timeout=5)).token
            except grpc.aio.AioRpcError:
                return None

        new = await eventually(recorded, 60)
        ((before,), (after,)) = around.positions(old[-1], "ann"), around.positions(new, "ann")
        assert after.topic_id != before.topic_id and after.offset < before.offset + 1
        # What the old tokens stand for is gone, so they are refused and not waited for.
        request = rpc.RecommendRequest(user_id="ann", after=[old[0]])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await around.recommendations.Recommend(request, timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "recreated" in (caught.value.details() or "")


async def created(kafka: KafkaSettings) -> bool:
    return kafka.topics.interactions in await create_topics(kafka, 365)


async def test_health_follows_the_catalogue_and_reflection_names_every_service(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        health = health_pb2_grpc.HealthStub(around.channel)
        for name in ("", *SERVICES):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=5)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        port = around.server.probes.port
        assert (await http(port, "/livez"))[0] == 200 and (await http(port, "/none"))[0] == 404
        assert json.loads((await http(port, "/readyz"))[1]) == {"ready": True, "not_ready": {}}
        assert "recstream_server_open_streams" in (await http(port, "/metrics"))[1]
        stub = reflection_pb2_grpc.ServerReflectionStub(around.channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        named = {service.name for service in (await call.read()).list_services_response.service}
        assert {*SERVICES, "grpc.health.v1.Health"} <= named
        await call.done_writing()
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        draining = asyncio.create_task(around.server.drain())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await asyncio.wait_for(draining, 9)


async def test_a_server_is_not_ready_before_the_catalogue_is_read(prefix, valkey) -> None:
    kafka = KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}", topic_prefix=prefix, request_timeout_ms=500)
    settings = ServerSettings(host="127.0.0.1", port=0, http_port=0)
    server = Server(ServerConfig(server=settings, kafka=kafka), SmallModel())
    await server.start()
    try:
        assert (await http(server.probes.port, "/livez"))[0] == 200
        assert (await http(server.probes.port, "/readyz"))[0] == 503
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", ALONE) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await RecommendationServiceStub(channel).Recommend(
                    rpc.RecommendRequest(user_id="u"), timeout=5
                )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.close()


ALONE = [("grpc.use_local_subchannel_pool", 1)]
MAIN = """
import uvloop
from inference.settings import TritonSettings
from profiles.settings import StoreSettings
from server.app import serve
from server.config import ServerConfig
from server.settings import ServerSettings
from topics.settings import KafkaSettings

config = ServerConfig(
    server=ServerSettings(host="127.0.0.1", port={port}, http_port={http}, drain_seconds=8),
    kafka=KafkaSettings(bootstrap="{kafka}", topic_prefix="{prefix}"),
    store=StoreSettings(addresses=("{valkey}",), key_prefix="{prefix}"),
)
uvloop.run(serve(config, TritonSettings(address="127.0.0.1:1")))
"""


@pytest.mark.parametrize("signals", [1, 2])
async def test_sigterm_sends_streams_away_and_ends_with_status_zero(
    kafka, valkey, prefix, signals: int
) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix, partitions=1)
    await create_topics(settings, 365)
    await fill_catalogue(settings)
    port, http_port = free_port(), free_port()
    address = f"{valkey.host}:{valkey.port}"
    code = MAIN.format(port=port, http=http_port, kafka=kafka.bootstrap, prefix=prefix, valkey=address)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={**os.environ, "PYTHONPATH": PATH}
    )
    try:

        async def ready() -> bool:
            try:
                return (await http(http_port, "/readyz"))[0] == 200
            except OSError:
                return False

        await eventually(ready, 60)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", ALONE) as channel:
            stub = RecommendationServiceStub(channel)
            calls = [
                stub.StreamRecommendations(rpc.StreamRecommendationsRequest(user_id=f"u{i}", count=5))
                for i in range(50)
            ]
            for call in calls:
                assert (await call.read()).frame.HasField("snapshot")
            health = health_pb2_grpc.HealthStub(channel)
            held = health.Watch(health_pb2.HealthCheckRequest(service=""))
            await held.read()
            for _ in range(signals):
                child.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.05)
            for call in calls if signals == 1 else ():
                away = (await call.read()).frame
                assert away.HasField("go_away") and away.resume_token
            assert await asyncio.wait_for(child.wait(), 20) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


ROOT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join((str(ROOT), str(ROOT / "protos")))
