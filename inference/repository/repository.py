"""A bundle's way into a Triton model repository."""

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
# A dot keeps Triton from taking the folder for a model.
_STAGING: Final = ".incoming-"
_POLICY: Final = re.compile(
    r"^version_policy\s*:?\s*\{\s*(?:specific\s*:?\s*\{\s*versions\s*:?\s*\[([\d,\s]*)\]|\w+\s*:?\s*\{[^{}]*)\s*\}\s*\}\s*$",
    re.MULTILINE,
)


def install(bundle: Bundle, repository: Path, backend: Backend | None = None) -> None:
    """Puts the bundle's version into `repository`, to be served staged the versions that are. `backend` runs it; none:
    the python backend, as the bundle has it.

    Files are copied aside, checked, and moved into place by renames, one graph after another, so that
    Triton never sees half a graph. Doing it again is harmless. What an interrupted install left behind
    is removed. Raises InstallFailed.
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
            # Where a file has its name, Python writes no folder of compiled files: with one, the version would look
            # changed to Triton, and be loaded again with the next one.
            if (staging / graph / str(version) / "model.py").exists():
                (staging / graph / str(version) / "__pycache__").touch()
            _move(staging / graph, repository / graph, str(version))
    except OSError as error:
        raise InstallFailed(f"version {version} could not be put into {repository}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def restrict(repository: Path, keep: Collection[int]) -> list[str]:
    """Has the repository serve only these of its versions, from the next `load` on; their files stay until
    `sweep`. Returns the graphs of which nothing is kept: they are to be unloaded. Raises InstallFailed."""
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
    """Removes the files of versions that are not served, and what interrupted work left; returns the versions.
    Raises InstallFailed."""
    swept: set[int] = set()
    try:
        for folder in _graphs(repository):
            for version in _present(folder) - _listed(folder):
                # Renamed first: a version's folder is whole or not there.
                os.rename(folder / str(version), repository / f"{_STAGING}{folder.name}-{version}")
                swept.add(version)
            (folder / f"{_STAGING}{_CONFIG}").unlink(missing_ok=True)
        for leftover in repository.glob(f"{_STAGING}*"):
            shutil.rmtree(leftover)
    except OSError as error:
        raise InstallFailed(f"{repository} could not be cleared: {error}") from error
    return sorted(swept)


def versions(repository: Path) -> list[int]:
    """The versions of which all four graphs are in the repository, ascending."""
    return sorted(set.intersection(*(_present(repository / graph) for graph in GRAPHS)))


async def load(settings: TritonSettings, unload: Collection[str] = ()) -> None:
    """Has Triton (in explicit model control) load the versions that its repository serves of its graphs, those of
    modalities first, and let go of the graphs named in `unload`. What was loaded answers until the new ones are
    ready.

    Raises InstallFailed with Triton's own words.
    """
    client = triton_aio.InferenceServerClient(settings.address, ssl=settings.tls)
    graph = "what it has"
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
            raise InstallFailed(f"{name} was not copied whole into {staging}")


def _move(source: Path, target: Path, version: str) -> None:
    if not target.exists():
        os.rename(source, target)
        return
    if not (target / version).exists():
        os.rename(source / version, target / version)
    if (source / _CONFIG).read_bytes() != (target / _CONFIG).read_bytes():
        # What is as it was is not touched: Triton would load all versions again.
        os.replace(source / _CONFIG, target / _CONFIG)


def _graphs(repository: Path) -> list[Path]:
    return sorted(path.parent for path in repository.glob(f"[!.]*/{_CONFIG}"))


def _present(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()}


def _listed(folder: Path) -> set[int]:
    """The versions that the graph's configuration names; all that are there where it names none."""
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
