"""Every value has an effect on what is rendered.

Values that no template branches on get unique marks, all at once. The chart is rendered with a few sets of the other
values, and every mark must be in one of the outputs. Each of the other values, mostly switches, is changed on its own,
and the output must change.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.helm.chart import CHART, NAMESPACE, RELEASE, helm, leaves, merged, nested

# The chart is rendered once for each value that is a switch, with each set of the other values.
pytestmark = pytest.mark.drill

Path = tuple[str, ...]
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
LEAVES: Final[Mapping[Path, Any]] = dict(leaves(SCHEMA))

# Values that the others need for anything to be rendered. These values are changed one by one.
ALWAYS: Final[Mapping[str, Any]] = {
    "server.terminationGracePeriodSeconds": 99_999,
    "kafka.partitions": 99_998,
    "triton.replicas": 2,
    "prometheusRule.disabled": [],
    "kafka.sasl.mechanism": "PLAIN",
    "server.service.type": "LoadBalancer",
    "triton.backend": "python",
}
ALONE: Final[Mapping[str, Any]] = {
    "triton.replicas": 3,
    "prometheusRule.disabled": ["RecstreamStoreDown"],
    "kafka.sasl.mechanism": "SCRAM-SHA-256",
    "server.service.type": "NodePort",
    "triton.backend": "onnxruntime",
}
NO_DIGESTS: Final = {".".join(path): "" for path in LEAVES if path[-1] == "digest"}
OTHERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "as they come": {},
    "external": {
        "kafka.bundled.enabled": False,
        "valkey.bundled.enabled": False,
        "triton.enabled": False,
        "models.persistence.enabled": False,
        "server.autoscaling.enabled": False,
        "ingest.autoscaling.enabled": False,
        "server.service.type": "ClusterIP",
        "jobs.retrain.data.existingClaim": "",
        "global.imageRegistry": "",
        **NO_DIGESTS,
    },
    "by default": {
        **NO_DIGESTS,
        "triton.backend": "tensorrt",
        "triton.command": [],
        "global.imageRegistry": "",
        "models.persistence.existingClaim": "",
        "server.image.registry": "",
        "valkey.bundled.persistence.storageClass": "",
        "server.nodeSelector": {},
        "server.tolerations": [],
        "server.affinity": {},
        "server.image.pullPolicy": "",
        "serviceAccount.name": "",
        "server.service.type": "NodePort",
    },
}


def mark(path: Path, number: int) -> Any:
    """Returns a value of the right form that can be found again."""
    schema = LEAVES[path]
    kinds = schema.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    word = f"q{number:04d}q"
    if "$ref" in schema:
        return 30_000 + number if schema["$ref"].endswith("port") else word
    if path == ("config",):
        return {"train": {word: 1}, "tracing": {"exporter": "otlp"}}
    if "boolean" in kinds:
        return True
    if "string" in kinds:
        return word
    if "integer" in kinds or "number" in kinds:
        return 30_000 + number
    if "object" in kinds:
        return {word: word}
    items = schema["items"]
    if items.get("$ref", "").endswith("port"):
        return [30_000 + number]
    return [{"name": word, "kind": word}] if "object" in items["type"] else [word]


MARKS: Final = {path: mark(path, number) for number, path in enumerate(LEAVES)}


def found(value: Any, text: str) -> bool:
    """Whether a mark is in the text."""
    if isinstance(value, bool):
        return False
    words = re.findall(r"q\d{4}q|\d{5}", json.dumps(value))
    return bool(words) and words[0] in text


def settings(name: str) -> dict[str, Any]:
    """Returns values with all marks, except those that the set fixes."""
    fixed = {**ALWAYS, **OTHERS[name]}
    values: dict[str, Any] = {}
    for path, value in MARKS.items():
        values = merged(values, nested(path, fixed.get(".".join(path), value)))
    return values


def output(values: Mapping[str, Any]) -> str:
    """Returns what is rendered, without checking the schema."""
    done = helm(
        "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--skip-schema-validation", values=values
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def outputs() -> dict[str, str]:
    return {name: output(settings(name)) for name in OTHERS}


def test_every_value_has_an_effect(outputs: Mapping[str, str]) -> None:
    for name, value in ALWAYS.items():
        path = tuple(name.split("."))
        assert path in LEAVES, name
        MARKS[path] = value if name not in ALONE else False
    left = [path for path, value in MARKS.items() if not any(found(value, text) for text in outputs.values())]
    assert len(left) < len(LEAVES) / 4
    without = [".".join(path) for path in left if not changes(path, outputs)]
    assert not without


def changes(path: Path, outputs: Mapping[str, str]) -> bool:
    """Whether another value changes what is rendered with one of the sets."""
    for name, text in outputs.items():
        values = settings(name)
        value = ALONE.get(".".join(path), False)
        if output(merged(values, nested(path, value))) != text:
            return True
    return False
