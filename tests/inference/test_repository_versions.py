"""Triton's repository serves the configured versions, and keeps no files of others."""

import asyncio
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from inference.bundle.bundle import Bundle, read
from inference.bundle.graphs import GRAPHS
from inference.errors import InstallFailed
from inference.repository.repository import install, restrict, sweep, versions


def policies(repository: Path) -> set[str]:
    lines = [
        line
        for graph in GRAPHS
        for line in (repository / graph / "config.pbtxt").read_text().splitlines()
        if line.startswith("version_policy")
    ]
    assert len(lines) == len(GRAPHS)
    return set(lines)


def as_version(bundle: Bundle, version: int, folder: Path) -> Bundle:
    """The same graphs under another number."""
    shutil.copytree(bundle.folder, folder)
    for graph in GRAPHS:
        (folder / "triton" / graph / "1").rename(folder / "triton" / graph / str(version))
    manifest = bundle.manifest
    files = {name.replace("/1/", f"/{version}/"): checksum for name, checksum in manifest.files.items()}
    return dataclasses.replace(
        bundle, folder=folder, manifest=manifest.model_copy(update={"version": version, "files": files})
    )


@pytest.fixture(scope="module")
def three(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Bundle]:
    folder = tmp_path_factory.mktemp("three")
    first = read(bundle)
    return first, as_version(first, 2, folder / "2"), as_version(first, 30, folder / "30")


@pytest.fixture
def repository(three: Sequence[Bundle], tmp_path: Path) -> Path:
    for each in three:
        install(each, tmp_path)
    return tmp_path


def test_an_installed_version_is_served_beside_the_others(repository: Path) -> None:
    assert versions(repository) == [1, 2, 30]
    assert policies(repository) == {"version_policy { specific { versions: [ 1, 2, 30 ] } }"}


def test_a_version_is_removed_in_two_steps(repository: Path, three: Sequence[Bundle]) -> None:
    assert restrict(repository, [1, 30]) == []
    assert versions(repository) == [1, 2, 30], "Triton may still be reading them"
    assert policies(repository) == {"version_policy { specific { versions: [ 1, 30 ] } }"}
    # An install before the sweep does not bring a removed version back.
    install(three[2], repository)
    assert policies(repository) == {"version_policy { specific { versions: [ 1, 30 ] } }"}
    assert sweep(repository) == [2]
    assert versions(repository) == [1, 30]
    assert sweep(repository) == []
    assert not list(repository.rglob(".*"))


def test_a_graph_that_only_a_retired_version_has_is_removed_with_it(repository: Path) -> None:
    extra = repository / "image_encoder"
    shutil.copytree(repository / "ranker", extra)
    for version in ("1", "30"):
        shutil.rmtree(extra / version)
    assert restrict(repository, [1, 30]) == ["image_encoder"]
    assert not extra.exists()
    sweep(repository)
    assert {path.name for path in repository.iterdir()} == set(GRAPHS)


def test_a_full_disk_leaves_the_repository_unchanged(
    repository: Path, three: Sequence[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(repository.rglob("*"))
    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(InstallFailed, match="No space left"):
        install(three[0], repository)
    assert sorted(repository.rglob("*")) == before


async def test_a_copy_in_progress_is_not_a_version(repository: Path) -> None:
    (repository / ".incoming-x" / "ranker" / "7").mkdir(parents=True)
    (repository / "ranker" / ".incoming-7").mkdir()
    assert versions(repository) == [1, 2, 30]
    assert await asyncio.to_thread(restrict, repository, [1, 2, 30]) == []
    sweep(repository)
    assert not (repository / ".incoming-x").exists()
