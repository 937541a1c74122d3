"""The Compose file, as Docker Compose reads it, matches the product."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from configuration.settings import load_settings
from ingest.settings import IngestSettings
from server.settings import ServerSettings
from tests.deploy.compose_file import PASSWORD, compose, environment, laid_out, services
from tests.deploy.dockerfile_build import CHECKOUT, TOOLS, stages

SCHEMA_MODULE = "github.com/compose-spec/compose-go/v2@v2.9.0"
OWN = ("server", "ingest", "trainer", "triton", "triton-gpu")
Services = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path_factory.mktemp("compose"))


@pytest.fixture(scope="module")
def every(file: Path) -> Services:
    return services(file, "*")


def test_compose_accepts_it_and_refuses_a_wrong_key(file: Path) -> None:
    assert compose(file, "--profile", "*", "config", "--quiet").stderr == ""
    wrong = file.with_name("wrong.yaml")
    wrong.write_text(file.read_text().replace("read_only: true", "readonly: true"))
    refused = compose(wrong, "config", "--quiet")
    assert refused.returncode != 0 and "readonly" in refused.stderr


@pytest.mark.skipif(
    shutil.which("go") is None, reason="go, which fetches the Compose specification, is not on PATH"
)
def test_it_keeps_to_the_compose_specification(file: Path) -> None:
    env = {**os.environ, "GOMODCACHE": str(CHECKOUT / ".cache" / "go"), "GOFLAGS": "-modcacherw"}
    fetch = ["go", "mod", "download", "-json", SCHEMA_MODULE]
    got = subprocess.run(
        fetch, capture_output=True, text=True, check=True, env=env, cwd=file.parent, timeout=110
    )
    schema = Path(json.loads(got.stdout)["Dir"]) / "schema" / "compose-spec.json"
    check = (
        "import json, sys, yaml; from jsonschema import Draft7Validator as V; "
        "errors = list(V(json.load(open(sys.argv[1]))).iter_errors(yaml.safe_load(open(sys.argv[2])))); "
        "print(*(f'{list(e.path)}: {e.message}' for e in errors), sep='\\n'); sys.exit(bool(errors))"
    )
    command = [TOOLS / "python", "-c", check, schema]
    kept = subprocess.run([*command, file], capture_output=True, text=True, check=False)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    wrong = file.with_name("wrong.yaml")
    wrong.write_text(file.read_text().replace("cap_drop: [ALL]", "cap_drop: ALL"))
    assert "cap_drop" in subprocess.run([*command, wrong], capture_output=True, text=True, check=False).stdout


def test_profiles_choose_the_triton_and_nothing_is_missing(file: Path) -> None:
    always = {"kafka", "valkey", "topics", "server", "ingest", "envoy", "prometheus", "grafana"}
    assert set(services(file)) == always
    assert set(services(file, "cpu")) == always | {"triton"}
    assert set(services(file, "gpu")) == always | {"triton-gpu"}
    assert set(services(file, "cpu", "tracing")) == always | {"triton", "collector"}


def test_nothing_starts_without_its_secrets(tmp_path: Path) -> None:
    file = laid_out(tmp_path)
    (file.parent / "secrets/store.env").unlink()
    refused = compose(file, "config", "--quiet")
    assert refused.returncode != 0 and "store.env" in refused.stderr
    paths = ["deploy/secrets/store.env", "deploy/secrets/grafana.env"]
    ignored = subprocess.run(
        ["git", "check-ignore", *paths], cwd=CHECKOUT, check=False, capture_output=True, text=True
    )
    assert ignored.stdout.split() == paths


def test_images_are_those_that_are_built_or_of_a_fixed_version(file: Path, every: Services) -> None:
    for name, service in every.items():
        role = re.fullmatch(r"recstream-([a-z-]+):0\.1\.0", service["image"])
        if role:
            assert role[1] in OWN and role[1] in stages(), name
        else:
            assert re.search(r":v?\d+\.\d+\.\d+", service["image"]), name
    moved = compose(file, "config", "--images", "server", IMAGE_REGISTRY="r.example/x/", IMAGE_VERSION="7")
    assert "r.example/x/recstream-server:7" in moved.stdout.split()


def test_every_service_is_bounded(every: Services) -> None:
    for name, service in every.items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= limits.keys(), name
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged") and service.get("network_mode") != "host", name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name
        grace = service["stop_grace_period"]
        assert grace == "30s" and ServerSettings().drain_seconds < 30


def test_every_long_running_service_has_a_health_check(every: Services) -> None:
    for name, service in every.items():
        own = service["image"].startswith("recstream-")
        check = service.get("healthcheck")
        if service["restart"] == "no":
            assert check in (None, {"disable": True}), name
        elif name == "collector":  # The image has no tool for a health check. It is checked from outside.
            assert [port["target"] for port in service["ports"]] == [13133]
        else:
            assert (own and check is None) or check["test"], name


@pytest.mark.parametrize("name", ["topics", "server", "ingest", "publish", "publish-gpu"])
def test_every_variable_is_a_setting_and_has_an_effect(
    every: Services, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [each for each in os.environ if each.startswith("RECSTREAM_")]:
        monkeypatch.delenv(variable)
    given = {n: v for n, v in environment(every[name]).items() if n.startswith("RECSTREAM_")}
    assert given
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.kafka.bootstrap == "kafka:9092"
    assert settings.store.addresses == ("valkey:6379",) and settings.triton.address == "triton:8001"
    if name != "topics":
        assert settings.store.password is not None and settings.store.password.get_secret_value() == PASSWORD
    assert (settings.repository == Path("/models")) == (name == "publish")


def test_mounted_files_and_volumes_exist(file: Path, every: Services) -> None:
    declared = set(yaml.safe_load(file.read_text())["volumes"])
    used = set()
    for name, service in every.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists() and volume["read_only"], (name, volume)
            else:
                used.add(volume["source"])
    assert used == declared


def test_ports_are_the_product_s_defaults(every: Services) -> None:
    published = {(p["published"], p["target"]) for s in every.values() for p in s.get("ports", [])}
    server = ServerSettings()
    assert (str(server.port), server.port) in published and ("9092", 9094) in published
    assert "HOST://127.0.0.1:9092" in environment(every["kafka"])["KAFKA_ADVERTISED_LISTENERS"]


def test_prometheus_scrapes_the_ports_of_metrics(every: Services) -> None:
    config = yaml.safe_load((CHECKOUT / "deploy/prometheus/prometheus.yml").read_text())
    asked = {
        (name, found["port"])
        for job in config["scrape_configs"]
        for found in job.get("dns_sd_configs", [])
        for name in found["names"]
    }
    assert asked == {
        ("server", ServerSettings().http_port),
        ("ingest", IngestSettings().health_port),
        ("triton", 8002),
    }
    assert {name for name, _ in asked} <= set(every)


def test_prometheus_finds_the_alerts_and_grafana_the_dashboards(every: Services) -> None:
    def outside(name: str, inside: str) -> Path:
        (mount,) = [v for v in every[name]["volumes"] if Path(inside).is_relative_to(v["target"])]
        return Path(mount["source"]) / Path(inside).relative_to(mount["target"])

    config = yaml.safe_load((CHECKOUT / "deploy/prometheus/prometheus.yml").read_text())
    (rules,) = config["rule_files"]
    assert yaml.safe_load(outside("prometheus", rules).read_text())["groups"]
    provisioned = CHECKOUT / "deploy/grafana/provisioning/dashboards/recstream.yaml"
    (provider,) = yaml.safe_load(provisioned.read_text())["providers"]
    assert len(list(outside("grafana", provider["options"]["path"]).glob("recstream-*.json"))) == 4


def test_traces_go_to_the_collector_if_they_are_enabled(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = yaml.safe_load((CHECKOUT / "deploy/otel/collector.yaml").read_text())
    port = collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rpartition(":")[2]
    (pipeline,) = collector["service"]["pipelines"].values()
    for kind, named in pipeline.items():
        assert set(named) <= set(collector[kind])
    assert collector["extensions"]["health_check"]["endpoint"] == "0.0.0.0:13133"
    for wanted in ("none", "otlp"):
        done = compose(file, "--profile", "*", "config", "--format", "json", TRACING_EXPORTER=wanted)
        found = json.loads(done.stdout)["services"]
        for name in ("server", "ingest"):
            with monkeypatch.context() as given:
                for variable, value in environment(found[name]).items():
                    given.setenv(variable, value)
                tracing = load_settings().tracing
            assert tracing.exporter == wanted and tracing.endpoint == f"http://collector:{port}"


def test_grafana_has_the_address_of_prometheus(every: Services) -> None:
    (source,) = yaml.safe_load(
        (CHECKOUT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert host in every and int(port) in {p["target"] for p in every[host]["ports"]}
