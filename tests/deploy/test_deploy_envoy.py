"""Envoy's configuration, as Envoy reads it, matches the contract."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

from server.settings import ServerSettings
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


def listener(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the connection manager of a listener."""
    (found,) = (each for each in config["static_resources"]["listeners"] if each["name"] == name)
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


def test_the_admin_interface_is_reachable_only_from_inside(config: dict[str, Any]) -> None:
    assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    routes = listener(config, "figures")["route_config"]["virtual_hosts"][0]["routes"]
    assert [route["match"] for route in routes] == [{"path": "/stats/prometheus"}, {"path": "/ready"}]
