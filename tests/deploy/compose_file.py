"""deploy/compose.yaml as Docker Compose reads it, with secrets for the test."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.deploy.dockerfile_build import CHECKOUT, TOOLS

PASSWORD = "p@ss/w#rd%41:?&é\"'\\$HOME $(id)"
"""Every character that a layer between a file and a server might interpret."""


def laid_out(folder: Path, password: str = PASSWORD) -> Path:
    """Copies deploy/ next to the chart's files, and fills in the files of secrets. Returns the path of compose.yaml."""
    place = folder / "deploy"
    files = Path("helm", "recstream", "files")
    shutil.copytree(CHECKOUT / files, folder / files)
    shutil.copytree(CHECKOUT / "deploy", place, ignore=shutil.ignore_patterns("*.env", "__pycache__"))
    for example in (place / "secrets").glob("*.env.example"):
        text = example.read_text().replace("PASSWORD=\n", f"PASSWORD={password}\n")
        example.with_suffix("").write_text(text)
    return place / "compose.yaml"


def compose(file: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Runs Docker Compose on that file, without an engine. Its package always exits with status 0, so here any output
    to standard error is a failure, including warnings."""
    env = {"PATH": os.environ["PATH"], "HOME": str(file.parent), **more}
    command = [str(TOOLS / "docker-compose"), "--file", str(file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    return subprocess.CompletedProcess(
        command, 1 if done.stderr else done.returncode, done.stdout, done.stderr
    )


def services(file: Path, *profiles: str) -> Mapping[str, Mapping[str, Any]]:
    """Returns the services of these profiles and those without a profile, as Compose would start them."""
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    done = compose(file, *chosen, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    found: Mapping[str, Mapping[str, Any]] = json.loads(done.stdout)["services"]
    return found


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """Returns the environment of its process. Compose writes a dollar sign as two."""
    return {name: value.replace("$$", "$") for name, value in (service.get("environment") or {}).items()}
