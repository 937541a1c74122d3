"""The processes know all the settings and arguments that the chart gives them."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from cli.app import app
from configuration.settings import PREFIX, Settings, load_settings
from ingest.consuming.groups import interactions_group, statistics_group
from tests.helm.chart import CHART, ROOT, VALUES, Object, containers, of, pod, rendered, workloads

SECRET = "p@ss/w#rd%41:?&é"
KEYS = "1:c2VjcmV0IHNlY3JldCBzZWNyZXQ="


@pytest.fixture(params=VALUES, ids=lambda file: file.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Returns a function that loads the settings of a container as its process would. All secrets have the same
    value."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)

    def load(objects: list[Object], template: Object, container: Object) -> Settings:
        for variable in container["env"]:
            secret = KEYS if variable["name"].endswith("__TOKEN_KEYS") else SECRET
            value = variable.get("value", secret)
            if variable["name"] == "RECSTREAM_CONFIG":
                mount = next(mount for mount in container["volumeMounts"] if mount["name"] == "settings")
                assert Path(value).parent == Path(mount["mountPath"])
                volume = next(each for each in template["spec"]["volumes"] if each["name"] == "settings")
                text = config(objects, volume["configMap"]["name"])["data"][Path(value).name]
                file = tmp_path / "recstream.yaml"
                file.write_text(text)
                value = str(file)
            if variable["name"].startswith(PREFIX):
                monkeypatch.setenv(variable["name"], value)
        return load_settings()

    return load


def config(objects: list[Object], name: str) -> Object:
    """Returns the ConfigMap of that name."""
    return next(each for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name)


def of_recstream(each: Object) -> list[Object]:
    """Returns the containers of a workload that run the `recstream` command."""
    return [
        container
        for container in containers(each)
        if any(variable["name"] == "RECSTREAM_CONFIG" for variable in container.get("env", []))
    ]


def test_every_process_accepts_its_settings(objects: list[Object], loaded: Any) -> None:
    seen = 0
    for each in workloads(objects):
        for container in of_recstream(each):
            loaded(objects, pod(each), container)
            seen += 1
    assert seen >= 3


def test_every_command_and_option_exists(objects: list[Object]) -> None:
    for each in workloads(objects):
        for container in of_recstream(each):
            parse(list(container["args"]))


def parse(arguments: list[str]) -> None:
    """Raises click's error if the program does not take these arguments. Nothing is run."""
    group = get_command(app)
    context = group.make_context("recstream", arguments)
    while hasattr(group, "resolve_command"):
        _, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None, arguments
        context = command.make_context(command.name, rest, parent=context)
        group = command


def test_external_servers_are_reached_with_the_values(loaded: Any) -> None:
    found = rendered(next(file for file in VALUES if file.name.startswith("external")))
    template = pod(of(found, "Deployment", "server"))
    settings = loaded(found, template, template["spec"]["containers"][0])
    kafka, store = settings.kafka, settings.store
    assert (kafka.security_protocol, kafka.sasl_mechanism) == ("SASL_SSL", "SCRAM-SHA-512")
    assert kafka.password is not None and kafka.password.get_secret_value() == SECRET
    assert (kafka.topic_prefix, kafka.partitions, kafka.replication) == ("prod.", 24, 3)
    mounts = {each["mountPath"] for each in template["spec"]["containers"][0]["volumeMounts"]}
    files = [kafka.ssl_ca_file, kafka.ssl_certificate_file, kafka.ssl_key_file, Path(store.tls_ca_file)]
    assert {str(file.parent) for file in files} <= mounts
    assert (store.cluster, store.tls, store.username) == (True, True, "recstream")
    assert store.password is not None and store.password.get_secret_value() == SECRET
    assert len(store.addresses) == 2
    assert (settings.triton.address, settings.triton.tls) == ("triton.example.com:443", True)
    assert settings.repository is None
    assert settings.server.token_keys is not None
    assert settings.server.token_keys.get_secret_value() == KEYS
    assert SECRET not in str(found) and KEYS not in str(found)


def test_processes_listen_at_the_ports_of_probes_and_services(loaded: Any) -> None:
    ports = {"grpc": 6001, "http": 6002}
    found = rendered(values={"server": {"ports": ports}, "ingest": {"ports": {"http": 6003}}})
    template = pod(of(found, "Deployment", "server"))
    container = template["spec"]["containers"][0]
    settings = loaded(found, template, container)
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == ports
    assert (settings.server.port, settings.server.http_port) == (6001, 6002)
    assert container["readinessProbe"]["grpc"]["port"] == 6001
    assert settings.server.host == "0.0.0.0"
    template = pod(of(found, "Deployment", "ingest"))
    settings = loaded(found, template, template["spec"]["containers"][0])
    assert (settings.ingest.health_host, settings.ingest.health_port) == ("0.0.0.0", 6003)


def test_the_process_has_the_drain_time_of_the_values(loaded: Any) -> None:
    found = rendered(values={"server": {"drainSeconds": 12.5}})
    template = pod(of(found, "Deployment", "server"))
    assert loaded(found, template, template["spec"]["containers"][0]).server.drain_seconds == 12.5


def test_a_large_number_stays_a_number(loaded: Any) -> None:
    found = rendered(values={"config": {"ingest": {"statistics_keys": 30_000_000}}})
    template = pod(of(found, "Deployment", "ingest"))
    assert loaded(found, template, template["spec"]["containers"][0]).ingest.statistics_keys == 30_000_000


def test_the_scaler_uses_the_groups_and_the_topics_of_ingest(loaded: Any) -> None:
    values = {"kafka": {"topicPrefix": "prod."}, "ingest": {"autoscaling": {"enabled": True}}}
    found = rendered(values=values)
    template = pod(of(found, "Deployment", "ingest"))
    kafka = loaded(found, template, template["spec"]["containers"][0]).kafka
    triggers = of(found, "ScaledObject", "ingest")["spec"]["triggers"]
    seen = {(each["metadata"]["consumerGroup"], each["metadata"]["topic"]) for each in triggers}
    assert seen == {
        (interactions_group(kafka), kafka.topics.interactions),
        (statistics_group(kafka), kafka.topics.interactions),
        (kafka.topics.item_changes_group, kafka.topics.item_changes),
    }
    assert {each["metadata"]["bootstrapServers"] for each in triggers} == {kafka.bootstrap}


def test_processes_that_trace_know_and_reach_the_collector() -> None:
    tracing = {"exporter": "otlp", "endpoint": "https://collector.watch.svc:4319", "sample_ratio": 0.5}
    peer = {"namespaceSelector": {"matchLabels": {"name": "watch"}}}
    policy = {"restrictEgress": True, "tracing": {"to": [peer]}}
    found = rendered(values={"networkPolicy": policy, "config": {"tracing": tracing}})
    for component in ("server", "ingest", "catalogue"):
        rules = of(found, "NetworkPolicy", component)["spec"]["egress"]
        rule = {"to": [peer], "ports": [{"port": 4319, "protocol": "TCP"}]}
        assert (rule in rules) == (component != "catalogue"), component
        text = of(found, "ConfigMap", component)["data"]["recstream.yaml"]
        assert yaml.safe_load(text).get("tracing") == (tracing if component != "catalogue" else None)


def test_the_images_have_the_version_of_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project
