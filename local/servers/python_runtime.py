"""The environment of Triton's python backend, and the shared libpython that it loads."""

import ctypes.util
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.errors import NotInstalled

ENVIRONMENT = Path(__file__).resolve().parents[2] / ".envs" / "triton"

_ASK = """
import sys, sysconfig
print(sys.version_info[0], sys.version_info[1])
print(sysconfig.get_config_var("LIBDIR") or "")
print(sysconfig.get_config_var("MULTIARCH") or "")
print(sysconfig.get_path("purelib"))
"""


@dataclass(frozen=True, slots=True)
class PythonRuntime:
    """The interpreter that Triton's python backend embeds.

    Attributes:
        version: The version, such as "3.11".
        environment: Triton's virtual environment.
        site_packages: The folder of its packages.
        library: The folder of libpython. None if the loader finds libpython by itself.
    """

    version: str
    environment: Path
    site_packages: Path
    library: Path | None


def triton_environment() -> Path:
    """Returns the folder of Triton's environment: RECSTREAM_TRITON_ENV, or else .envs/triton of the checkout."""
    return Path(os.environ.get("RECSTREAM_TRITON_ENV") or ENVIRONMENT)


def python_runtime(environment: Path) -> PythonRuntime:
    """Inspects the virtual environment.

    Raises NotInstalled if the environment or Triton is missing, or if its interpreter has no shared libpython.
    """
    python = environment / "bin" / "python3"
    if not python.exists():
        raise NotInstalled(f"Triton's environment {environment} is missing: `make install` builds it")
    asked = subprocess.run(
        [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=30, check=False
    )
    if asked.returncode:
        raise NotInstalled(f"{python} does not run: {asked.stderr.strip()[-500:]}")
    numbers, library, multiarch, site_packages = asked.stdout.split("\n")[:4]
    version = ".".join(numbers.split())
    if not (Path(site_packages) / "pytriton" / "tritonserver" / "bin" / "tritonserver").exists():
        raise NotInstalled(f"{environment} has no nvidia-pytriton: `make install` installs it")
    return PythonRuntime(version, environment, Path(site_packages), _library(version, library, multiarch))


def _library(version: str, library: str, multiarch: str) -> Path | None:
    name = f"libpython{version}.so.1.0"
    for folder in filter(None, (library, f"{library}/{multiarch}", f"/usr/lib/{multiarch}")):
        if (Path(folder) / name).exists():
            return Path(folder)
    if ctypes.util.find_library(f"python{version}"):
        return None
    raise NotInstalled(
        f"{name}, which Triton's python backend loads, is missing: apt-get install libpython{version}, "
        f"or use an interpreter built with --enable-shared"
    )
