"""Installs versions into a Triton model repository, and removes them."""

import os
import re
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Final

import structlog
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from inference.bundle.bundle import Bundle, checksum
from inference.bundle.graphs import GRAPHS
from inference.bundle.modalities import MODALITY_SUFFIX
from inference.errors import InstallFailed
from inference.repository.backends import Backend
from inference.repository.compatibility import check_compatible, configure
from inference.settings import TritonSettings

log = structlog.get_logger()

_CONFIG: Final = "config.pbtxt"
# Triton ignores folders whose names begin with a dot.
_STAGING: Final = ".incoming-"
_POLICY: Final = re.compile(
    r"^version_policy\s*:?\s*\{\s*(?:specific\s*:?\s*\{\s*versions\s*:?\s*\[([\d,\s]*)\]|\w+\s*:?\s*\{[^{}]*)\s*\}\s*\}\s*$",
    re.MULTILINE,
)


def install(bundle: Bundle, repository: Path, backend: Backend | None = None) -> None:
    """Adds the bundle's version to a repository. The versions that it serves stay served.

    Files are copied to a staging folder, checked, and renamed into place one graph at a time, so that Triton never sees
    half a graph. Installing a version again does no harm. Leftovers of interrupted installs are removed.

    Args:
        bundle: The bundle.
        repository: The repository's folder.
        backend: The backend that runs the graphs. None: the python backend.

    Raises:
        InstallFailed: The version conflicts with one that is served, or a file could not be written.
    """
    version = bundle.manifest.version
    staging = repository / f"{_STAGING}{uuid.uuid4().hex}"
    try:
        repository.mkdir(parents=True, exist_ok=True)
        for leftover in repository.glob(f"{_STAGING}*"):
            log.warning("model_repository_leftover_removed", path=str(leftover))
            shutil.rmtree(leftover)
        shutil.copytree(bundle.folder / "triton", staging)
        _check(bundle, staging)
        configure(bundle, staging, backend or Backend())
        for graph in bundle.manifest.graphs():
            if others := _listed(repository / graph) - {version}:
                check_compatible(staging / graph / _CONFIG, repository / graph / _CONFIG, max(others))
        for graph in bundle.manifest.graphs():
            versions = _listed(repository / graph) | {version}
            _write_policy(staging / graph / _CONFIG, versions)
            # A file of this name keeps Python from writing a folder of compiled files. With such a folder, Triton would
            # consider the version changed, and reload it together with the next one.
            if (staging / graph / str(version) / "model.py").exists():
                (staging / graph / str(version) / "__pycache__").touch()
            _move(staging / graph, repository / graph, str(version))
    except OSError as error:
        raise InstallFailed(f"version {version} could not be installed into {repository}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def restrict(repository: Path, keep: Collection[int]) -> list[str]:
    """Makes the repository serve only these versions, from the next `load` on. The files of the others stay until
    `sweep`.

    Returns:
        The graphs of which no version is kept. They must be unloaded.

    Raises:
        InstallFailed: A file could not be changed.
    """
    left: list[str] = []
    try:
        for folder in _graphs(repository):
            wanted = _present(folder) & set(keep)
            if not wanted:
                os.rename(folder, repository / f"{_STAGING}{folder.name}-{uuid.uuid4().hex}")
                left.append(folder.name)
            elif _listed(folder) != wanted:
                staged = folder / f"{_STAGING}{_CONFIG}"
                shutil.copyfile(folder / _CONFIG, staged)
                _write_policy(staged, wanted)
                os.replace(staged, folder / _CONFIG)
    except OSError as error:
        raise InstallFailed(f"{repository} could not be changed: {error}") from error
    return left


def sweep(repository: Path) -> list[int]:
    """Removes the files of versions that are not served, and leftovers of interrupted installs.

    Returns:
        The removed versions, ascending.

    Raises:
        InstallFailed: A file could not be removed.
    """
    swept: set[int] = set()
    try:
        for folder in _graphs(repository):
            for version in _present(folder) - _listed(folder):
                # Renamed first, so that a version's folder is either complete or absent.
                os.rename(folder / str(version), repository / f"{_STAGING}{folder.name}-{version}")
                swept.add(version)
            (folder / f"{_STAGING}{_CONFIG}").unlink(missing_ok=True)
        for leftover in repository.glob(f"{_STAGING}*"):
            shutil.rmtree(leftover)
    except OSError as error:
        raise InstallFailed(f"{repository} could not be cleared: {error}") from error
    return sorted(swept)


def versions(repository: Path) -> list[int]:
    """The versions that have all four graphs in the repository, ascending."""
    return sorted(set.intersection(*(_present(repository / graph) for graph in GRAPHS)))


async def load(settings: TritonSettings, unload: Collection[str] = ()) -> None:
    """Makes Triton load the versions that its repository serves. Triton must run in explicit model control mode.

    The graphs of modalities are loaded first. Loaded versions answer until the new ones are ready.

    Args:
        settings: The connection to Triton.
        unload: Graphs to unload.

    Raises:
        InstallFailed: Triton failed. The error has Triton's message.
    """
    client = triton_aio.InferenceServerClient(settings.address, ssl=settings.tls)
    graph = "its models"
    timeout = settings.load_timeout_ms / 1e3
    try:
        index = await client.get_model_repository_index(client_timeout=timeout)
        listed = {model.name for model in index.models} - set(unload)
        of_modalities = sorted(name for name in listed - set(GRAPHS) if name.endswith(MODALITY_SUFFIX))
        for graph in [*of_modalities, *GRAPHS]:
            await client.load_model(graph, client_timeout=timeout)
        for graph in unload:
            await client.unload_model(graph, client_timeout=timeout)
    except InferenceServerException as error:
        raise InstallFailed(
            f"Triton at {settings.address} did not load {graph}: {error.message()}"
        ) from error
    finally:
        await client.close()


def _check(bundle: Bundle, staging: Path) -> None:
    for name, expected in bundle.manifest.files.items():
        inside = Path(name).parts
        if inside[0] == "triton" and checksum(staging.joinpath(*inside[1:])) != expected:
            raise InstallFailed(f"{name} was not copied completely into {staging}")


def _move(source: Path, target: Path, version: str) -> None:
    if not target.exists():
        os.rename(source, target)
        return
    if not (target / version).exists():
        os.rename(source / version, target / version)
    if (source / _CONFIG).read_bytes() != (target / _CONFIG).read_bytes():
        # An unchanged file is not replaced, because Triton would reload all versions.
        os.replace(source / _CONFIG, target / _CONFIG)


def _graphs(repository: Path) -> list[Path]:
    return sorted(path.parent for path in repository.glob(f"[!.]*/{_CONFIG}"))


def _present(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()}


def _listed(folder: Path) -> set[int]:
    """The versions that the graph's configuration names. If it names none, all that are in the folder."""
    try:
        found = _POLICY.search((folder / _CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    if found is None or found[1] is None:
        return _present(folder)
    return {int(number) for number in re.findall(r"\d+", found[1])} & _present(folder)


def _write_policy(config: Path, versions: Collection[int]) -> None:
    text = _POLICY.sub("", config.read_text(encoding="utf-8")).rstrip("\n")
    numbers = ", ".join(map(str, sorted(versions)))
    config.write_text(
        f"{text}\nversion_policy {{ specific {{ versions: [ {numbers} ] }} }}\n", encoding="utf-8"
    )
