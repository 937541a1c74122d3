"""Images, built from the Dockerfile once per session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.deploy.containers as containers
from tests.deploy.compose_world import World, world
from tests.deploy.dockerfile_build import Build


def _only_look(stage: str, command: str) -> str:
    """Only resolves and compares the trainer's packages, because torch and its libraries are gigabytes."""
    return (
        command.replace("pip sync --quiet", "pip sync --dry-run") if stage == "training-packages" else command
    )


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Build:
    """Builds images that contain the tiny bundle. Needs root, or skips."""
    containers.required()
    return Build(tmp_path_factory.mktemp("images"), {"bundle": bundle}, _only_look)


@pytest.fixture(scope="module")
def running(build: Build, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The running services of the Compose file."""
    with world(tmp_path_factory.mktemp("compose"), build, bundle) as it:
        yield it
