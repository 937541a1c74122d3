"""Checks whether this machine has what `recstream up` needs."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from cli.doctor.finding import Finding, Level
from inference.bundle.bundle import MANIFEST
from local.errors import LocalError
from local.servers.jars import HASHES, cache_folder, check, expected, jar_folder
from local.servers.kafka import java_runtime
from local.servers.ports import is_free
from local.servers.python_runtime import python_runtime, triton_environment
from local.servers.valkey import valkey_server
from rollout.bundle_folder import stored_versions

_GLIBC = (2, 35)
_GIB = 1 << 30
_MIB = 1 << 20
_PORTS = {"Kafka": 9092, "Valkey": 6379, "Triton": 8001, "the server": 50051}


def examine(data: Path, bundle: Path, bundles: Path | None = None) -> Iterator[Finding]:
    """Checks this machine, in the order of the report.

    Args:
        data: The folder of `recstream up`.
        bundle: The folder of the bundle that `recstream train` writes.
        bundles: The folder of published bundles. None: the one in `data`.
    """
    yield _platform()
    yield _glibc()
    yield _python()
    yield _venv()
    yield _present("setpriv", shutil.which("setpriv"), "apt-get install util-linux")
    yield _package("Kafka's Java runtime", java_runtime)
    yield _jars()
    yield _package("valkey-server", valkey_server)
    yield _triton()
    yield _space("disk for data", data, 2 * _GIB, "free some space, or choose another folder with --data")
    yield _space("disk for downloads", cache_folder(), _GIB // 4, "free some space, or set RECSTREAM_CACHE")
    # This checks only the size, and writes no file there.
    yield _space("/dev/shm for Triton", Path("/dev/shm"), 64 * _MIB, "in a container: --shm-size=256m")  # noqa: S108
    yield _memory()
    yield from _ports()
    yield _torch()
    yield _bundle(bundle, bundles or data / "bundles")


def _platform() -> Finding:
    found = f"{platform.system()} {platform.machine()}"
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        return Finding("platform", Level.OK, found)
    return Finding(
        "platform",
        Level.MISSING,
        found,
        "Triton's wheel is for Linux x86-64: name a running Triton with --triton",
    )


def _glibc() -> Finding:
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if name == "glibc" and numbers >= _GLIBC:
        return Finding("C library", Level.OK, f"glibc {version}")
    return Finding(
        "C library",
        Level.MISSING,
        f"{name or 'unknown'} {version}",
        "Triton needs glibc 2.35: Debian 12, Ubuntu 22.04",
    )


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Finding("Python", Level.OK, f"{version} at {sys.executable}")
    return Finding(
        "Python",
        Level.MISSING,
        version,
        "use 3.11 or 3.12: RECSTREAM_PYTHON=/path/to/python3.11 make install",
    )


def _venv() -> Finding:
    if find_spec("venv") and find_spec("ensurepip"):
        return Finding("venv", Level.OK, "installed")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Finding(
        "venv", Level.NOTE, "missing", f"to build the environments: apt-get install python{version}-venv"
    )


def _present(what: str, path: str | None, to_do: str) -> Finding:
    return Finding(what, Level.OK, path) if path else Finding(what, Level.MISSING, "not found", to_do)


def _package(what: str, find: Callable[[], Path]) -> Finding:
    try:
        path = find()
    except LocalError as error:
        return Finding(what, Level.MISSING, str(error), "make install")
    except Exception as error:  # a package that does not fit this platform may raise anything
        return Finding(what, Level.MISSING, f"{type(error).__name__}: {error}", "make install")
    if path.exists():
        return Finding(what, Level.OK, str(path))
    return Finding(what, Level.MISSING, f"{path} is missing", "make install")


def _jars() -> Finding:
    try:
        wanted = expected()
    except LocalError as error:
        return Finding("Kafka's jars", Level.MISSING, str(error), "use a complete checkout")
    folder = jar_folder(HASHES)
    if not folder.is_dir():
        return Finding(
            "Kafka's jars", Level.NOTE, "not fetched yet", "the first `recstream up` fetches them: 45 MB"
        )
    problems = check(folder, wanted)
    if problems:
        return Finding(
            "Kafka's jars", Level.NOTE, "; ".join(problems[:3]), "the next `recstream up` fetches them again"
        )
    return Finding("Kafka's jars", Level.OK, f"{len(wanted)} in {folder}, each with the committed hash")


def _triton() -> Finding:
    try:
        runtime = python_runtime(triton_environment())
    except LocalError as error:
        return Finding("Triton and libpython", Level.MISSING, str(error), "make install")
    library = runtime.library or "the loader's path"
    return Finding(
        "Triton and libpython", Level.OK, f"{runtime.environment}, libpython{runtime.version} in {library}"
    )


def _space(what: str, folder: Path, needed: int, to_do: str) -> Finding:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    found = f"{free / _GIB:.1f} GiB free at {folder}"
    if free >= needed:
        return Finding(what, Level.OK, found)
    return Finding(what, Level.MISSING, f"{found}, {needed / _GIB:.2g} GiB needed", to_do)


def _memory() -> Finding:
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines() if os.path.exists("/proc/meminfo") else ():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    found = f"{available / _GIB:.1f} GiB available"
    if available >= 2 * _GIB:
        return Finding("memory", Level.OK, found)
    return Finding("memory", Level.NOTE, found, "all processes need about 1.5 GiB; training needs 3 GiB more")


def _ports() -> Iterator[Finding]:
    for name, port in _PORTS.items():
        if is_free(port):
            yield Finding(f"port {port} for {name}", Level.OK, "free")
        else:
            yield Finding(
                f"port {port} for {name}",
                Level.NOTE,
                "taken",
                "`recstream up` chooses another one, and prints it",
            )


def _torch() -> Finding:
    if find_spec("torch"):
        return Finding("torch, for training", Level.OK, "installed")
    return Finding(
        "torch, for training", Level.NOTE, "missing", "only `train` and `demo` need it: make install"
    )


def _bundle(folder: Path, bundles: Path) -> Finding:
    if versions := stored_versions(bundles):
        return Finding("model bundle", Level.OK, f"versions {', '.join(map(str, versions))} in {bundles}")
    if (folder / MANIFEST).exists():
        return Finding("model bundle", Level.OK, str(folder))
    return Finding(
        "model bundle",
        Level.NOTE,
        f"none in {folder}",
        "`recstream up` needs one: `recstream train` writes it",
    )
