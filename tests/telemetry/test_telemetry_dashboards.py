"""Dashboards, alerts and the page of metrics are consistent with the code. Nothing has to run."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from telemetry.dashboards.dashboards import DASHBOARDS, FOLDER, NOT_SHOWN, files
from telemetry.dashboards.expressions import problems
from telemetry.dashboards.metrics import Kind, Metric, every, own
from telemetry.dashboards.page import PAGE, page, shown_on

ALERTS = Path(__file__).parents[2] / "helm" / "recstream" / "files" / "alerts"
RULES = [
    rule
    for group in yaml.safe_load((ALERTS / "recstream.yaml").read_text())["groups"]
    for rule in group["rules"]
]
KNOWN = every()


def test_the_page_of_metrics_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make reference`"


def test_the_dashboards_are_fresh_and_there_are_no_others() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, "run `make reference`"
    assert set(FOLDER.glob("*.json")) == set(files())


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
def test_every_query_uses_existing_metrics(dashboard) -> None:
    for panel in dashboard.panels:
        for query in panel.queries:
            assert not list(problems(query.expr, KNOWN)), (panel.title, query.expr)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_uses_existing_metrics(rule) -> None:
    assert not list(problems(rule["expr"], KNOWN)), rule["expr"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}


def test_every_panel_has_a_description_and_a_unit() -> None:
    units = {"short", "s", "ops", "reqps", "bytes", "percentunit", "µs"}
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            assert panel.title and panel.description.endswith(".") and panel.unit in units, panel
            assert panel.queries and all(query.expr for query in panel.queries), panel


def test_every_metric_is_on_a_dashboard_or_listed_as_not_shown() -> None:
    assert {name for name, where in shown_on().items() if not where} == set(NOT_SHOWN)


def test_every_label_of_every_metric_is_bounded() -> None:
    for metric in own():
        for label in metric.labels:
            bounds = metric.values[label]
            assert bounds.values or (bounds.more and bounds.pattern), (metric, label)


def test_metric_names_follow_the_conventions_of_prometheus() -> None:
    assert not [name for name, many in Counter(metric.name for metric in own()).items() if many > 1]
    for metric in own():
        assert metric.name.startswith("recstream_") and metric.meaning, metric
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric
        assert list(metric.buckets) == sorted(metric.buckets), metric
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM), metric


def test_the_dashboards_for_grafana_are_complete() -> None:
    for path, text in files().items():
        made = json.loads(text)
        assert made["uid"] == path.stem and made["templating"]["list"][0]["type"] == "datasource"
        panels = [panel for panel in made["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
        taken: set[tuple[int, int]] = set()
        for panel in made["panels"]:
            grid = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert grid["x"] + grid["w"] <= 24 and not cells & taken, panel["title"]
            taken |= cells
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)


COUNTER = Metric("recstream_c_total", Kind.COUNTER, "", ("kind",), ("server",))
GAUGE = Metric("recstream_g", Kind.GAUGE, "", (), ("server",))
HISTOGRAM = Metric("recstream_h_seconds", Kind.HISTOGRAM, "", (), ("server",), (1.0,))


@pytest.mark.parametrize(
    ("expr", "wrong"),
    [
        ("sum(rate(recstream_c_total[5m]))", ""),
        ("sum by (kind) (rate(recstream_c_total[5m]))", ""),
        ("histogram_quantile(0.9, sum by (le) (rate(recstream_h_seconds_bucket[5m])))", ""),
        ("max(recstream_g)", ""),
        ("rate(recstream_none_total[5m])", "does not exist"),
        ("rate(recstream_g[5m])", "rate() of the gauge"),
        ("sum(recstream_c_total)", "only its rate"),
        ("rate(recstream_c_total)", "without a window"),
        ("rate(recstream_h_seconds[5m])", "does not exist"),
        ("histogram_quantile(0.9, rate(recstream_h_seconds_sum[5m]))", "without a bucket"),
        ('rate(recstream_c_total{tier="x"}[5m])', "no label tier"),
        ("sum by (tier) (rate(recstream_c_total[5m]))", "label tier"),
        ("sum by (le) (rate(recstream_c_total[5m]))", "label le"),
    ],
)
def test_the_check_of_queries_finds_errors(expr: str, wrong: str) -> None:
    known = {metric.name: metric for metric in (COUNTER, GAUGE, HISTOGRAM)}
    found = "; ".join(problems(expr, known))
    assert wrong in found and bool(wrong) == bool(found)
