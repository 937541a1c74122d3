"""A bundle's way into a Triton model repository."""

import os
import shutil
import uuid
from pathlib import Path
from typing import Final

import structlog
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from inference.bundle import Bundle, checksum
from inference.errors import InstallFailed
from inference.graphs import GRAPHS
from inference.settings import TritonSettings

log = structlog.get_logger()

# A dot keeps Triton from taking the folder for a model.
_STAGING: Final = ".incoming-"


def install(bundle: Bundle, repository: Path) -> None:
    """Puts the bundle's version into `repository`, beside the versions that are there.

    Files are copied aside, checked, and moved into place by renames, the four graphs one after another, so
    that Triton never sees half a graph. Doing it again is harmless. What an interrupted install left behind
    is removed. Raises InstallFailed.
    """
    version = str(bundle.manifest.version)
    try:
        repository.mkdir(parents=True, exist_ok=True)
        for leftover in repository.glob(f"{_STAGING}*"):
            log.warning("model_repository_leftover_removed", path=str(leftover))
            shutil.rmtree(leftover)
        staging = repository / f"{_STAGING}{uuid.uuid4().hex}"
        shutil.copytree(bundle.folder / "triton", staging)
        _check(bundle, staging)
        for graph in GRAPHS:
            _move(staging / graph, repository / graph, version)
        shutil.rmtree(staging)
    except OSError as error:
        raise InstallFailed(f"version {version} could not be put into {repository}: {error}") from error


def versions(repository: Path) -> list[int]:
    """The versions of which all four graphs are in the repository, ascending."""
    found = [
        {int(p.name) for p in (repository / graph).glob("*") if p.name.isdecimal() and p.is_dir()}
        for graph in GRAPHS
    ]
    return sorted(set.intersection(*found))


async def load(settings: TritonSettings) -> None:
    """Has Triton (in explicit model control) load the newest versions of its repository's four graphs; what
    is loaded and unchanged stays as it is, and the versions before answer until the new ones are ready.

    Raises InstallFailed with Triton's own words.
    """
    client = triton_aio.InferenceServerClient(settings.address, ssl=settings.tls)
    try:
        for graph in GRAPHS:
            await client.load_model(graph, client_timeout=settings.load_timeout_ms / 1e3)
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
            raise InstallFailed(f"{name} was not copied whole into {staging}")


def _move(source: Path, target: Path, version: str) -> None:
    if not target.exists():
        os.rename(source, target)
        return
    if not (target / version).exists():
        os.rename(source / version, target / version)
    os.replace(source / "config.pbtxt", target / "config.pbtxt")
