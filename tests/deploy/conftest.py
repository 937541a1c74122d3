"""Images, built from the Dockerfile once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.deploy.containers as containers
from tests.deploy.compose_world import World, world
from tests.deploy.dockerfile_build import Build


def _only_look(stage: str, command: str) -> str:
    """torch and its libraries are gigabytes: what the trainer installs is resolved and compared, and left at that."""
    return (
        command.replace("pip sync --quiet", "pip sync --dry-run") if stage == "training-packages" else command
    )


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Build:
    """Builds images that begin with the tiny bundle. Needs root, or skips."""
    containers.required()
    return Build(tmp_path_factory.mktemp("images"), {"bundle": bundle}, _only_look)


@pytest.fixture(scope="module")
def running(build: Build, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What the Compose file describes, running."""
    with world(tmp_path_factory.mktemp("compose"), build, bundle) as it:
        yield it
