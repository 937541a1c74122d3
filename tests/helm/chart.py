"""The chart as `helm template` renders it, for the tests of tests/helm."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "recstream"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE, NAMESPACE = "rel", "shop"

Object = dict[str, Any]
POD_MAKERS = ("Deployment", "StatefulSet", "Job", "CronJob")
try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML without libyaml is slower, but correct.
    from yaml import SafeLoader as Loader  # type: ignore[assignment]


def tool(name: str) -> str:
    """Returns the path of a program of the chart. Skips the test if it is missing."""
    kept = ROOT / ".cache" / "bin" / name
    found = shutil.which(name) or (str(kept) if kept.is_file() else None)
    if found is None:
        pytest.skip(f"{name} is not on PATH: make helm-tools, with Go")
    return found


def missing(what: str, make: str) -> None:
    """Fails in CI and skips elsewhere, because something that `make install-test` installs is missing."""
    reason = f"{what} is not there: make {make}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs helm and returns its output. `values` are passed as a file on standard input."""
    command = [tool("helm"), *arguments]
    if values is not None:
        command += ["--values", "-"]
    return _ran(tuple(command), json.dumps(values) if values is not None else "")


@functools.cache
def _ran(command: tuple[str, ...], text: str) -> subprocess.CompletedProcess[str]:
    """Cached, because the chart does not change while tests run."""
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def rendered(
    *files: Path, values: Mapping[str, Any] | None = None, release: str = RELEASE, loose: bool = False
) -> list[Object]:
    """Returns every object of the chart with these values. `loose`: the schema is not checked."""
    arguments = ["template", release, str(CHART), "--namespace", NAMESPACE]
    for file in files:
        arguments += ["--values", str(file)]
    if loose:
        arguments.append("--skip-schema-validation")
    done = helm(*arguments, values=values or {})
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, Loader) if each]


def refusal(values: Mapping[str, Any]) -> str:
    """Returns helm's error for values that it refuses."""
    done = helm("template", RELEASE, str(CHART), values=values)
    assert done.returncode != 0, "taken"
    return done.stderr


def of(objects: Iterable[Object], kind: str, component: str) -> Object:
    """Returns the only object of a kind and component."""
    found = [each for each in objects if each["kind"] == kind and component_of(each) == component]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def component_of(each: Object) -> str:
    """Returns the component, or an empty text."""
    return str(each["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def pod(each: Object) -> Object:
    """Returns the pod template of a workload."""
    spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
    template: Object = spec["template"]
    return template


def workloads(objects: Iterable[Object]) -> list[Object]:
    """Returns the objects that create pods."""
    return [each for each in objects if each["kind"] in POD_MAKERS]


def containers(each: Object) -> list[Object]:
    """Returns all containers of a workload's pods."""
    spec = pod(each)["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields path and schema of every value that has a default."""
    for name, value in node.get("properties", {}).items():
        if "default" in value:
            yield (*path, name), value
        else:
            yield from leaves(value, (*path, name))


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Returns {a: {b: value}} for (a, b)."""
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two maps, as helm merges values."""
    found = dict(below)
    for key, value in above.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found
