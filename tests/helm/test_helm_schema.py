"""Values are described once, and wrong values are refused."""

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, RELEASE, ROOT, VALUES, helm, leaves, refusal, tool

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """Loads helm/write_values.py."""
    spec = importlib.util.spec_from_file_location("write_values", ROOT / "helm" / "write_values.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_values_and_schema_are_generated_from_helm_values(writer: ModuleType) -> None:
    assert (CHART / "values.yaml").read_text() == writer.values_text(), "python helm/write_values.py"
    assert (CHART / "values.schema.json").read_text() == writer.schema_text(), "python helm/write_values.py"


def test_the_readme_is_generated_by_helm_docs() -> None:
    docs = tool("helm-docs")
    command = [docs, "--chart-search-root", str(CHART), "--sort-values-order", "file", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (CHART / "README.md").read_text().strip(), "make chart"


def test_the_schema_and_the_values_file_have_the_same_defaults() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    found = {path: schema["default"] for path, schema in leaves(SCHEMA)}
    for path, default in found.items():
        node: Any = values
        for name in path:
            node = node[name]
        assert node == default, path
    assert set(paths(values, set(found))) == set(found)


def test_every_value_has_a_description_and_every_object_is_closed() -> None:
    for path, node in objects(SCHEMA):
        if path:
            assert node.get("description"), path
        if "properties" in node and path not in (("global",), ()):
            assert node["additionalProperties"] is False, path


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"server": {"replicas": "two"}}, "/server/replicas"),
        ({"server": {"replica": 2}}, "/server"),
        ({"server": {"image": {"digest": "sha256:12"}}}, "/server/image/digest"),
        ({"ingest": {"roles": ["everything"]}}, "/ingest/roles/0"),
        ({"kafka": {"partitions": 0}}, "/kafka/partitions"),
        ({"kafka": {"bundled": {"enabled": False}}}, "/kafka/bootstrap"),
        ({"kafka": {"bundled": {"enabled": False}}}, "/server/tokenKeys/existingSecret"),
        ({"kafka": {"sasl": {"mechanism": "PLAIN"}}}, "/kafka/sasl/existingSecret"),
        ({"valkey": {"bundled": {"enabled": False}}}, "/valkey/addresses"),
        ({"valkey": {"addresses": ["valkey"]}}, "/valkey/addresses/0"),
        ({"valkey": {"auth": {"password": "secret"}}}, "/valkey/auth"),
        ({"triton": {"enabled": False}}, "/triton/address"),
        ({"triton": {"gpu": {"enabled": True}}}, "/triton/backend"),
        ({"server": {"ingress": {"enabled": True}}}, "/server/ingress/hosts"),
        ({"server": {"grpcRoute": {"enabled": True}}}, "/server/grpcRoute/parentRefs"),
        ({"models": {"fetch": {"enabled": True}}}, "/models/fetch/image"),
        ({"models": {"persistence": {"size": "ten"}}}, "/models/persistence/size"),
        ({"jobs": {"publish": {"canary": 2}}}, "/jobs/publish/canary"),
        ({"config": {"server": {"max_streams": 0}}}, "/config/server/max_streams"),
        ({"config": {"ranking": {"wieghts": {}}}}, "/config/ranking"),
        ({"config": {"store": {"password": "secret"}}}, "/config/store"),
        ({"config": {"server": {"drain_seconds": 60}}}, "/config/server"),
        ({"config": {"server": {"token_keys": "1:secret"}}}, "/config/server"),
        ({"config": {"ingest": {"mappings": ["segmnt"]}}}, "/config/ingest/mappings/0"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_path(values: dict[str, Any], where: str) -> None:
    assert f"at '{where}'" in refusal(values)


def test_a_mapping_may_be_the_name_of_a_ready_made_one() -> None:
    mappings = ["segment", {"name": "ga4", "actions": {"view_promotion": "view"}}]
    done = helm("template", RELEASE, str(CHART), values={"config": {"ingest": {"mappings": mappings}}})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"server": {"terminationGracePeriodSeconds": 34}},
            "preStopSeconds and drainSeconds need at least 35",
        ),
        ({"ingest": {"replicas": 7}}, "more than kafka.partitions (6)"),
        (
            {"ingest": {"autoscaling": {"enabled": True, "minReplicas": 7}}},
            "more than 6 replicas have no work",
        ),
        ({"server": {"autoscaling": {"enabled": True, "minReplicas": 11}}}, "is more than maxReplicas"),
    ],
)
def test_inconsistent_values_are_refused(values: dict[str, Any], words: str) -> None:
    assert words in refusal(values)


def test_the_values_of_the_continuous_checks_are_the_five() -> None:
    assert [file.name.removesuffix("-values.yaml") for file in VALUES] == [
        "autoscaling", "defaults", "external", "gpu", "locked-down",
    ]  # fmt: skip


def paths(node: Any, known: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the paths of a values file, as deep as values are defined."""
    if path in known or not isinstance(node, dict):
        yield path
        return
    for name, value in node.items():
        yield from paths(value, known, (*path, name))


def objects(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every schema down to those with a default, including these."""
    yield path, node
    if "default" not in node:
        for name, value in node.get("properties", {}).items():
            yield from objects(value, (*path, name))
