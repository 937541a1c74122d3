"""Builds images from the Dockerfile like BuildKit, but without a base image.

Each stage is a folder. COPY takes the files of the checkout that the .dockerignore does not exclude. RUN runs as root,
with the folder as its root.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from string import Template

from tests.deploy.containers import PATH, Container, Mount

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "deploy" / "images"
TOOLS = CHECKOUT / ".envs" / "deploy" / "bin"

_PARSE = """
import json, sys
from dockerfile_parse import DockerfileParser
print(json.dumps([[s["instruction"], s["value"]] for s in DockerfileParser(path=sys.argv[1]).structure]))
"""
# How this machine reaches the package index. None of it stays in an image.
_NETWORK = (
    "PIP_",
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "SSL_",
    "REQUESTS_",
    "HTTP",
    "http",
    "NO_PROXY",
    "no_proxy",
)


@dataclass(frozen=True, slots=True)
class Image:
    """A built stage, with the settings of its instructions."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed: tuple[int, ...] = ()

    def container(self, user: str | None = None, **more: object) -> Container:
        """Returns a container of it with a read-only root."""
        return Container(
            self.root, dict(self.env), self.workdir, user or self.user, read_only=True, **more  # type: ignore[arg-type]
        )  # fmt: skip


@cache
def stages() -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Returns the instructions of each stage, beginning with FROM, in the order of the file."""
    asked = subprocess.run(
        [TOOLS / "python", "-c", _PARSE, IMAGES], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for instruction, value in json.loads(asked):
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            found[name] = [("FROM", base)]
        elif instruction not in ("COMMENT", "ARG"):
            found[name].append((instruction, value))
    return {name: tuple(steps) for name, steps in found.items()}


class Build:
    """Builds each stage once, in `folder`. `contexts` are the build's named contexts. `alter` may change what a stage
    runs."""

    def __init__(
        self, folder: Path, contexts: Mapping[str, Path] | None = None,
        alter: Callable[[str, str], str] = lambda stage, command: command,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._contexts = dict(contexts or {})
        self._alter = alter
        self._built: dict[str, Image] = {}

    def image(self, stage: str) -> Image:
        """Returns the stage, built."""
        if stage not in self._built:
            self._built[stage] = self._build(stage)
        return self._built[stage]

    def _build(self, stage: str) -> Image:
        (_, base), *steps = stages()[stage]
        root = self._folder / stage
        if base in stages():
            image = replace(self.image(base), root=root)
            subprocess.run(["cp", "-al", str(self.image(base).root), str(root)], check=True)
        else:
            root.mkdir(parents=True)
            image = Image(root, {"PATH": PATH})
        for instruction, value in steps:
            image = self._step(stage, image, instruction, value)
        return image

    def _step(self, stage: str, image: Image, instruction: str, value: str) -> Image:
        match instruction:
            case "RUN":
                self._run(stage, image, value)
            case "COPY":
                self._copy(image, value)
            case "ENV":
                added = {n: Template(v).substitute(image.env) for n, v in _pairs(value).items()}
                return replace(image, env={**image.env, **added})
            case "LABEL":
                return replace(image, labels={**image.labels, **_pairs(value)})
            case "WORKDIR":
                (image.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
                return replace(image, workdir=value)
            case "USER":
                return replace(image, user=value)
            case "EXPOSE":
                return replace(image, exposed=tuple(map(int, value.split())))
            case "ENTRYPOINT":
                return replace(image, entrypoint=tuple(json.loads(value)), cmd=())
            case "CMD":
                return replace(image, cmd=tuple(json.loads(value)))
            case "HEALTHCHECK":
                listed = re.search(r"CMD (\[.*\])", value)
                return replace(image, probe=tuple(json.loads(listed[1])) if listed else ())
            case _:
                raise ValueError(f"{instruction} is not looked at")
        return image

    def _run(self, stage: str, image: Image, value: str) -> None:
        flags, command = _flags(value)
        mounts = []
        for flag in flags.get("mount", []):
            options = dict(part.split("=") for part in flag.split(","))
            if options["type"] == "cache":
                mounts.append(Mount(_package_cache(options["target"]), options["target"]))
            else:
                mounts.append(Mount(self._from(options["from"]), options["target"], read_only=True))
        env = {
            **{n: v for n, v in os.environ.items() if n.startswith(_NETWORK)},
            "HOME": "/root",
            **image.env,
        }
        inside = Container(image.root, env, image.workdir, image.user, mounts=mounts)
        done = inside.run(["sh", "-c", self._alter(stage, command)], timeout=600)
        assert done.returncode == 0, f"{stage}: RUN {command}\n{done.stdout}{done.stderr}"

    def _copy(self, image: Image, value: str) -> None:
        flags, rest = _flags(value)
        *sources, target = rest.split()
        place = image.root / os.path.join(image.workdir, target).lstrip("/")
        for source in sources:
            if "from" in flags:
                found = self._from(flags["from"][0]) / source.lstrip("/")
                assert found.exists(), f"COPY {value}: {source} is not there"
                place.mkdir(parents=True, exist_ok=True)
                link = "-a" if flags.keys() & {"chown", "chmod"} else "-al"
                subprocess.run(["cp", link, f"{found}/.", str(place)], check=True)
                continue
            files = context_files(source)
            assert files, f"COPY {value}: {source} is not in the context"
            for file in files:
                whole = CHECKOUT / source
                inner = place / (file.relative_to(whole) if whole.is_dir() else file.name)
                inner.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, inner)
        for flag, command in (("chown", "chown"), ("chmod", "chmod")):
            for wanted in flags.get(flag, []):
                subprocess.run([command, "-R", wanted, str(place)], check=True)

    def _from(self, name: str) -> Path:
        if name in self._contexts:
            return self._contexts[name]
        return self.image(name).root


def context_files(source: str) -> list[Path]:
    """Yields the files under `source` in the checkout that the .dockerignore does not exclude."""
    whole = CHECKOUT / source
    files = [whole] if whole.is_file() else [p for p in whole.rglob("*") if p.is_file()]
    return [file for file in files if not ignored(file.relative_to(CHECKOUT).as_posix())]


def ignored(path: str) -> bool:
    """Whether the .dockerignore excludes it. The last pattern that matches it, or a folder above it, decides."""
    left_out = False
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    for pattern, keeps in _patterns():
        if any(pattern.fullmatch(each) for each in above):
            left_out = not keeps
    return left_out


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], bool], ...]:
    found = []
    for line in (IMAGES / "Dockerfile.dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            text = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            found.append((re.compile(text), line.startswith("!")))
    return tuple(found)


def _package_cache(target: str) -> Path:
    """Replaces a cache that BuildKit keeps by this machine's own cache of the same name, so that little is fetched."""
    name = Path(target).name
    asked = os.environ.get(f"{name.upper()}_CACHE_DIR")
    place = Path(asked) if asked else Path.home() / ".cache" / name
    place.mkdir(parents=True, exist_ok=True)
    return place


def _flags(value: str) -> tuple[dict[str, list[str]], str]:
    flags: dict[str, list[str]] = {}
    rest = value.strip()
    while found := re.match(r"--(\w+)=(\S+)\s+", rest):
        flags.setdefault(found[1], []).append(found[2])
        rest = rest[found.end() :]
    return flags, rest


def _pairs(value: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in shlex.split(value))
