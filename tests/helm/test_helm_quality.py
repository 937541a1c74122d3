"""One process at a time measures online quality. Nothing scales it, and no other process has its role."""

from typing import Any

import pytest
import yaml

from ingest.app import Role
from tests.helm.chart import VALUES, Object, component_of, containers, of, pod, refusal, rendered, workloads


@pytest.fixture(scope="module", params=VALUES, ids=lambda file: file.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


def roles(each: Object) -> list[str]:
    """Returns the roles of an ingest process, which are all of them if the command names none."""
    arguments: list[str] = containers(each)[-1].get("args", [])
    if arguments[:1] != ["ingest"]:
        return []
    named = [arguments[at + 1] for at, word in enumerate(arguments) if word == "--role"]
    return named or list(Role)


def test_one_process_measures_and_has_no_other_role(objects: list[Object]) -> None:
    measuring = [each for each in workloads(objects) if "quality" in roles(each)]
    assert [(each["kind"], component_of(each), roles(each)) for each in measuring] == [
        ("Deployment", "quality", ["quality"])
    ]
    # During an upgrade, too.
    assert measuring[0]["spec"]["replicas"] == 1
    assert measuring[0]["spec"]["strategy"] == {"type": "Recreate"}


def test_every_role_has_a_process(objects: list[Object]) -> None:
    assert {role for each in workloads(objects) for role in roles(each)} == set(Role)


def test_nothing_scales_it(objects: list[Object]) -> None:
    for each in objects:
        if each["kind"] in ("ScaledObject", "HorizontalPodAutoscaler"):
            assert not each["spec"]["scaleTargetRef"]["name"].endswith("-quality")
        assert each["kind"] != "PodDisruptionBudget" or component_of(each) != "quality"


def test_it_can_be_disabled() -> None:
    found = rendered(
        values={
            "quality": {"enabled": False},
            "catalogue": {"enabled": False},
            "serviceMonitor": {"enabled": True},
        }
    )
    assert not [each for each in found if "quality" in (component_of(each), *roles_of(each))]


def roles_of(each: Object) -> list[str]:
    return roles(each) if each["kind"] == "Deployment" else []


def test_a_worker_without_memory_for_slates_is_refused() -> None:
    nothing: dict[str, Any] = {"config": {"ingest": {"quality_slates": 0}}}
    assert "set quality.enabled to false" in refusal(nothing)
    assert rendered(values={**nothing, "quality": {"enabled": False}})


def test_it_has_the_surfaces_of_the_servers() -> None:
    given = {"config": {"ranking": {"surfaces": {"home": {}}}}}
    for component in ("server", "quality"):
        text = of(rendered(values=given), "ConfigMap", component)["data"]["recstream.yaml"]
        assert "home" in yaml.safe_load(text)["ranking"]["surfaces"], component


def test_it_reaches_only_kafka() -> None:
    found = rendered(values={"networkPolicy": {"restrictEgress": True}})
    rules = of(found, "NetworkPolicy", "quality")["spec"]["egress"]
    assert [port["port"] for rule in rules for port in rule["ports"]] == [53, 53, 9092]
    peers = of(found, "NetworkPolicy", "kafka")["spec"]["ingress"][0]["from"]
    named = {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in peers}
    assert "quality" in named
    assert pod(of(found, "Deployment", "quality"))["spec"]["containers"][0]["name"] == "quality"
