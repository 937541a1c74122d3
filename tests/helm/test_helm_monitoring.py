"""The chart renders its files of alerts and dashboards unchanged, and the alerts of a release concern only that
release."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from telemetry.dashboards.expressions import metric_of, uses
from telemetry.dashboards.metrics import every
from tests.helm.chart import CHART, NAMESPACE, ROOT, VALUES, Object, of, refusal, rendered
from tests.telemetry.world import PROMTOOL, needs_prometheus

FILES = CHART / "files"
TESTS = sorted((ROOT / "tests" / "telemetry" / "alerts").glob("*_test.yaml"))
GROUPS = yaml.safe_load((FILES / "alerts" / "recstream.yaml").read_text())["groups"]
NAMES = [rule["alert"] for group in GROUPS for rule in group["rules"]]
EXTERNAL = next(file for file in VALUES if file.name.startswith("external"))
OWN = {"name": "own", "rules": [{"alert": "Own", "expr": "recstream_server_ready == 0"}]}


def rule_object(*files: Path, **settings: Any) -> Object:
    found = rendered(*files, values={"prometheusRule": {"enabled": True, **settings}})
    return next(each for each in found if each["kind"] == "PrometheusRule")


def rules(*files: Path, **settings: Any) -> dict[str, Any]:
    groups = rule_object(*files, **settings)["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )


def test_alerts_and_dashboards_are_off_by_default() -> None:
    found = rendered()
    assert not [each for each in found if each["kind"] == "PrometheusRule"]
    assert not [each for each in found if "dashboard" in each["metadata"]["name"]]


def test_all_alerts_are_rendered_in_their_groups_as_in_their_file() -> None:
    plain = rule_object(ownNamespace=False)["spec"]["groups"]
    assert plain == GROUPS
    for group, ours in zip(GROUPS, rule_object()["spec"]["groups"], strict=True):
        assert ours["name"] == group["name"]
        for rule, our in zip(group["rules"], ours["rules"], strict=True):
            assert our["labels"] == {**rule["labels"], "namespace": NAMESPACE}
            assert {**our, "expr": "", "labels": {}} == {**rule, "expr": "", "labels": {}}


@pytest.mark.parametrize("matchers", [[], ['cluster="eu"', 'job=~"a-(server|ingest)\\\\.\\\\d$1"']], ids=str)
def test_every_selector_is_restricted_and_nothing_else_changes(matchers: list[str]) -> None:
    originals = rules(ownNamespace=False)
    wanted = {"namespace", *(each.partition("=")[0] for each in matchers)}
    for name, rule in rules(matchers=matchers).items():
        found, before = list(uses(rule["expr"])), list(uses(originals[name]["expr"]))
        assert [use.name for use in found] == [use.name for use in before]
        for use, old in zip(found, before, strict=True):
            assert set(use.matched) == wanted | set(old.matched), rule["expr"]
            assert metric_of(use.name, every()) is not None
        added = ", ".join([f'namespace="{NAMESPACE}"', *matchers])
        back = rule["expr"].replace(f"{{{added}}}", "").replace(f"{added}, ", "")
        assert back == originals[name]["expr"]


@needs_prometheus
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ownNamespace": False},
        {"matchers": ['cluster="eu"', 'job=~"a-(server|ingest)\\\\.\\\\d$1"']},
        {"extraGroups": [OWN], "alertLabels": {"team": "recommend"}, "runbookUrl": "https://example.com/"},
    ],
    ids=str,
)
def test_prometheus_takes_the_rules(settings: Mapping[str, Any], tmp_path: Path) -> None:
    spec = rule_object(**settings)["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    done = promtool(tmp_path, "check", "rules", "rules.yaml")
    count = len(NAMES) + len(settings.get("extraGroups", []))
    assert done.returncode == 0 and f"{count} rules found" in done.stdout, done.stdout + done.stderr


def moved(path: Path, namespace: str) -> dict[str, Any]:
    """Returns a unit test of the alerts with every series in a namespace. If it is not the release's, no alert may
    fire, except those for missing series."""
    tests = yaml.safe_load(path.read_text())
    tests["rule_files"] = ["rules.yaml"]
    for test in tests["tests"]:
        for series in test["input_series"]:
            name, _, labels = series["series"].partition("{")
            series["series"] = f'{name}{{namespace="{namespace}", {labels or "}"}'
        cases = test["alert_rule_test"]
        for case in cases:
            for alert in case["exp_alerts"]:
                alert["exp_labels"]["namespace"] = NAMESPACE
            if namespace != NAMESPACE:
                case["exp_alerts"] = []
        if namespace != NAMESPACE:
            test["alert_rule_test"] = [case for case in cases if not case["alertname"].endswith("Missing")]
    return tests  # type: ignore[no-any-return]


@needs_prometheus
@pytest.mark.parametrize("namespace", [NAMESPACE, "another"])
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_for_their_own_release_and_for_no_other(
    path: Path, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_object()["spec"]))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(moved(path, namespace)))
    done = promtool(tmp_path, "test", "rules", "test.yaml")
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_alerts_can_be_left_out_labelled_and_added_to() -> None:
    server = [rule["alert"] for rule in GROUPS[0]["rules"]]
    labels = {"team": "recommend", "severity": "low"}
    spec = rule_object(disabled=server, alertLabels=labels, extraGroups=[OWN])["spec"]
    assert [group["name"] for group in spec["groups"]] == ["recstream-ingest", "recstream-model", "own"]
    assert spec["groups"][-1] == OWN
    for group in spec["groups"][:-1]:
        for rule in group["rules"]:
            assert rule["labels"] == {**labels, "namespace": NAMESPACE}


def test_an_unknown_alert_cannot_be_disabled() -> None:
    wrong = {"prometheusRule": {"enabled": True, "disabled": ["RecstreamIngestLags"]}}
    assert "there is no alert RecstreamIngestLags" in refusal(wrong)


@pytest.mark.parametrize("matcher", ['cluster="eu', 'a="b", c="d"', "eu", 'cluster="e"u"', '"a"="b"'])
def test_an_invalid_matcher_is_refused(matcher: str) -> None:
    assert "at '/prometheusRule/matchers/0'" in refusal({"prometheusRule": {"matchers": [matcher]}})


@pytest.mark.parametrize("url", ["https://example.com/runbooks", "https://example.com/runbooks/"])
def test_runbooks_are_linked_at_their_published_url(url: str) -> None:
    for name, rule in rules(runbookUrl=url).items():
        assert rule["annotations"]["runbook_url"] == f"https://example.com/runbooks/{name}.md"
        assert "runbook" not in rule["annotations"]
    for name, rule in rules().items():
        assert rule["annotations"]["runbook"] == f"docs/runbooks/{name}.md"
        assert "runbook_url" not in rule["annotations"]


def test_an_external_triton_is_not_expected_in_our_namespace() -> None:
    disabled: dict[str, Any] = {"disabled": []}
    assert set(NAMES) - set(rules(EXTERNAL, **disabled)) == {"RecstreamTritonQueues"}
    assert set(rules(EXTERNAL, ownNamespace=False, **disabled)) == set(NAMES)


def test_the_dashboards_are_those_of_the_files() -> None:
    found = rendered(values={"dashboards": {"enabled": True}, "commonLabels": {"a": "b"}})
    maps = [each for each in found if each["metadata"]["labels"].get("grafana_dashboard") == "1"]
    shown = {name: json.loads(text) for each in maps for name, text in each["data"].items()}
    assert shown == {path.name: json.loads(path.read_text()) for path in FILES.glob("dashboards/*.json")}
    assert len(maps) == len(shown) == 4
    assert {each["metadata"]["annotations"]["grafana_folder"] for each in maps} == {"recstream"}
    assert all(len(json.dumps(each)) < 2**20 for each in maps)


def test_the_sidecar_gets_its_labels_and_annotations() -> None:
    values = {
        "enabled": True,
        "namespace": "monitoring",
        "labels": {"grafana_dashboard": None, "dashboards": "yes"},
        "annotations": {"example.com/a": "b"},
        "folder": "Recommend",
        "folderAnnotation": "k8s-sidecar-target-directory",
    }
    metadata = [
        each["metadata"]
        for each in rendered(values={"dashboards": values})
        if each["metadata"]["labels"].get("dashboards") == "yes"
    ]
    assert len(metadata) == 4
    for each in metadata:
        assert each["namespace"] == "monitoring" and "grafana_dashboard" not in each["labels"]
        assert each["annotations"] == {
            "example.com/a": "b", "k8s-sidecar-target-directory": "Recommend",
        }  # fmt: skip


def test_the_autoscaler_uses_an_existing_metric() -> None:
    found = of(
        rendered(values={"server": {"autoscaling": {"enabled": True}}}), "HorizontalPodAutoscaler", "server"
    )
    name = found["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric_of(name, every()) is not None and re.fullmatch("recstream_server_[a-z_]+", name)
