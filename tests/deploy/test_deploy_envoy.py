"""Envoy's configuration, as Envoy reads it, matches the contract."""

import asyncio
import copy
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto
from google.rpc.status_pb2 import Status

from local.servers.ports import free_port, is_free
from server.settings import ServerSettings
from tests.client.scripted_server import (
    BatchRecordResponse,
    RecordResult,
    ScriptedServer,
    answering,
    token,
)
from tests.deploy.dockerfile_build import CHECKOUT, TOOLS

ENVOY = CHECKOUT / "deploy" / "envoy"


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ENVOY / "envoy.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def methods() -> dict[str, MethodDescriptorProto]:
    """Returns the methods of the descriptor set by path."""
    described = FileDescriptorSet.FromString((ENVOY / "recstream.binpb").read_bytes())
    return {
        f"/{file.package}.{service.name}/{method.name}": method
        for file in described.file
        for service in file.service
        for method in service.method
    }


def listener_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a listener."""
    (found,) = (each for each in config["static_resources"]["listeners"] if each["name"] == name)
    return dict(found)


def listener(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the connection manager of a listener."""
    found = listener_of(config, name)
    manager: dict[str, Any] = found["filter_chains"][0]["filters"][0]["typed_config"]
    return manager


def validate(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    file = folder / "envoy.yaml"
    file.write_text(text.replace("/etc/envoy/recstream.binpb", str(ENVOY / "recstream.binpb")))
    command = [TOOLS / "envoy", "--mode", "validate", "--config-path", file]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_envoy_accepts_its_configuration_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    text = (ENVOY / "envoy.yaml").read_text()
    taken = validate(tmp_path, text)
    assert taken.returncode == 0, taken.stderr
    misspelt = validate(tmp_path, text.replace("stream_idle_timeout", "stream_idel_timeout"))
    assert misspelt.returncode != 0 and "stream_idel_timeout" in misspelt.stderr
    unknown = validate(
        tmp_path, text.replace("- recstream.v1.CatalogService\n", "- recstream.v1.Catalogue\n")
    )
    assert unknown.returncode != 0 and "recstream.v1.Catalogue" in unknown.stderr


def test_the_descriptor_set_matches_the_proto_files(tmp_path: Path) -> None:
    made = tmp_path / "made.binpb"
    subprocess.run([ENVOY / "descriptors.sh", CHECKOUT / ".envs/protos/bin/python", made], check=True)
    assert made.read_bytes() == (ENVOY / "recstream.binpb").read_bytes(), "run `make protos`"


def test_error_details_can_be_converted_to_json() -> None:
    described = FileDescriptorSet.FromString((ENVOY / "recstream.binpb").read_bytes())
    names = {f"{file.package}.{message.name}" for file in described.file for message in file.message_type}
    assert {f"google.rpc.{name}" for name in ("Status", "BadRequest", "ErrorInfo", "RetryInfo")} <= names


def test_routes_lead_to_existing_methods(
    config: dict[str, Any], methods: dict[str, MethodDescriptorProto]
) -> None:
    paths = set(methods) | {"/grpc.health.v1.Health/Check"}
    for name in ("web", "mobile"):
        for route in listener(config, name)["route_config"]["virtual_hosts"][0]["routes"]:
            match = route["match"]
            wanted = match.get("path") or match["prefix"]
            exact = "path" in match
            assert wanted == "/v1/" or any(p == wanted if exact else p.startswith(wanted) for p in paths), (
                wanted
            )


def test_streams_are_never_cut_and_everything_else_is(
    config: dict[str, Any], methods: dict[str, MethodDescriptorProto]
) -> None:
    routes = listener(config, "web")["route_config"]["virtual_hosts"][0]["routes"]
    longest = ServerSettings().max_deadline_ms / 1000
    for path, method in methods.items():
        first = next(
            (
                r
                for r in routes
                if r["match"].get("path") == path or path.startswith(r["match"].get("prefix", "\0"))
            ),
            None,
        )
        if first is None:
            assert path.split("/")[1] in ("recstream.v1.ProfileService", "recstream.v1.CatalogService"), path
            continue
        seconds = float(first["route"]["timeout"].removesuffix("s"))
        streams = method.client_streaming or method.server_streaming
        assert seconds == 0 if streams else seconds > longest, path


def test_envoy_agrees_with_the_servers_settings(config: dict[str, Any]) -> None:
    settings = ServerSettings()
    (cluster,) = (each for each in config["static_resources"]["clusters"] if each["name"] == "servers")
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {
        "address": "server",
        "port_value": settings.port,
    }
    mobile = listener(config, "mobile")["http2_protocol_options"]
    assert mobile["max_concurrent_streams"] >= settings.max_streams
    (limits,) = cluster["circuit_breakers"]["thresholds"]
    assert limits["max_requests"] > settings.max_streams + settings.max_unary
    protocol = cluster["typed_extension_protocol_options"][
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    ]
    pings = protocol["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"]["interval"]
    assert float(pings.removesuffix("s")) > settings.client_ping_seconds
    for name in ("web", "mobile"):
        idle = float(listener(config, name)["stream_idle_timeout"].removesuffix("s"))
        assert idle > 2 * settings.heartbeat_seconds


async def test_a_batch_of_events_is_json_over_http(tmp_path: Path, config: dict[str, Any]) -> None:
    refused = Status(code=3, message="interaction.action: is missing")
    results = [RecordResult(token=token(7)), RecordResult(refused=refused)]
    server = ScriptedServer()
    server.play("BatchRecord", answering(BatchRecordResponse(results=results)))
    await server.start()
    sent = [
        {"userId": "ann", "eventTime": "2030-01-31T12:00:00Z", "undo": {"eventId": "e-1"}},
        {"userId": "ann", "slateId": "s", "impression": {"itemIds": ["a", "b"]}, "context": {"device": "tv"}},
    ]
    body = json.dumps({"interactions": sent}).encode()
    try:
        async with running(tmp_path, config, server.port) as port:
            status, answer = await asyncio.to_thread(post, port, "/v1/interactions:batch", body)
    finally:
        await server.stop()
    assert status == 200, answer
    found = json.loads(answer)["results"]
    assert found[0]["token"] == token(7) and found[1]["refused"]["message"] == refused.message
    undone, seen = server.requests("BatchRecord")[0].interactions
    assert undone.undo.event_id == "e-1" and undone.event_time.ToSeconds() == 1896091200
    assert list(seen.impression.item_ids) == ["a", "b"] and dict(seen.context) == {"device": "tv"}


@asynccontextmanager
async def running(folder: Path, config: dict[str, Any], upstream: int) -> AsyncIterator[int]:
    """Runs Envoy with its listener for the web in front of a server. Gives the listener's port."""
    port = free_port()
    alone = copy.deepcopy(config)
    alone.pop("admin")
    web, servers = listener_of(alone, "web"), alone["static_resources"]["clusters"][0]
    web["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    endpoint = servers["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": upstream}
    servers.pop("health_checks")  # The scripted server has none.
    alone["static_resources"] = {"listeners": [web], "clusters": [servers]}
    file = folder / "envoy.yaml"
    text = yaml.safe_dump(alone, width=1000)
    file.write_text(text.replace("/etc/envoy/recstream.binpb", str(ENVOY / "recstream.binpb")))
    options = ("--config-path", file, "--use-dynamic-base-id", "--concurrency", "1")
    process = await asyncio.create_subprocess_exec(
        TOOLS / "envoy", *options, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while is_free(port):
                assert process.returncode is None, "Envoy has ended"
                await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """Posts a JSON document. Returns the status and the body of the answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_admin_interface_is_reachable_only_from_inside(config: dict[str, Any]) -> None:
    assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    routes = listener(config, "figures")["route_config"]["virtual_hosts"][0]["routes"]
    assert [route["match"] for route in routes] == [{"path": "/stats/prometheus"}, {"path": "/ready"}]
