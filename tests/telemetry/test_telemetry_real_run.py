"""A Prometheus that scraped a real run has data for every query and every alert, and all labels are within their
bounds."""

import asyncio
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from local.stack import Stack
from recstream.client import Client, RecstreamError
from telemetry.dashboards.dashboards import DASHBOARDS
from telemetry.dashboards.expressions import metric_of
from telemetry.dashboards.metrics import every, own
from tests.drills.world import ITEMS, Events, in_background
from tests.telemetry.world import needs_prometheus, prometheus

pytestmark = [needs_prometheus, pytest.mark.drill, pytest.mark.timeout(180)]

RULES = Path(__file__).parents[2] / "helm/recstream/files/alerts/recstream.yaml"
SECONDS = 12
KNOWN = every()


async def watch(client: Client, user: str, surface: str) -> None:
    async with client.stream(user, count=10, surface=surface) as lists:
        async for _ in lists:
            pass


async def use(client: Client, user: str) -> None:
    """Requests lists, and sends impressions and actions for them."""
    while True:
        for surface in ("", "evaluation"):
            shown = await client.recommend(user, count=12, surface=surface)
            await client.record_impression(user, shown.item_ids, slate_id=shown.slate_id, surface=surface)
            for item in shown[:4]:
                for action in ("view", "click"):
                    await client.record(user, item.item_id, action, slate_id=shown.slate_id)
        token = await client.record(user, ITEMS[0], "view")
        await client.profile(user, after=[token])
        await client.similar(ITEMS[1], count=3)
        await client.rank(user, ITEMS[:5])
        await client.top_items()
        await asyncio.sleep(0.1)


async def misuse(client: Client, events: Events) -> None:
    while True:
        await events.producer.send_and_wait(events.topic, b"{no json", key=b"nobody")
        with suppress(RecstreamError):
            await client.recommend("u", count=-1)
        with suppress(RecstreamError):
            await client.recommend("u", surface="no-such-surface")
        await asyncio.sleep(1.0)


@pytest.fixture(scope="module")
def seen(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """The Prometheus server after some seconds of traffic: one run for all tests of this file."""
    return asyncio.run(_look(stack, tmp_path_factory.mktemp("prometheus")))


async def _look(stack: Stack, folder: Path) -> Mapping[str, object]:
    server, ingest, triton = (stack.parts[name] for name in ("server", "ingest", "triton"))
    targets = {
        "server": f"127.0.0.1:{server.health_port}",  # type: ignore[attr-defined]
        "ingest": f"127.0.0.1:{ingest.health_port}",  # type: ignore[attr-defined]
        "triton": f"127.0.0.1:{triton.metrics_port}",  # type: ignore[attr-defined]
    }
    async with (
        prometheus(folder, targets, RULES) as looking,
        Client(stack.address("server")) as client,
        Events.to(stack) as events,
        in_background(
            *(watch(client, f"user-{n}", surface) for n, surface in enumerate(("", "", "evaluation"))),
            *(use(client, f"user-{n}") for n in range(3)),
            misuse(client, events),
        ),
    ):
        await asyncio.sleep(SECONDS)
        return {
            "panels": {
                (dashboard.uid, panel.title, query.expr): await looking.ask(_now(query.expr))
                for dashboard in DASHBOARDS
                for panel in dashboard.panels
                for query in panel.queries
            },
            "alerts": {
                rule["alert"]: await looking.ask(_compared(rule["expr"]))
                for group in yaml.safe_load(RULES.read_text())["groups"]
                for rule in group["rules"]
            },
            "rules": await looking.rules(),
            "series": {job: await looking.series(job) for job in targets},
            "types": {job: await looking.types(job) for job in targets},
        }


def _now(expr: str) -> str:
    """Adapts the query to a run of seconds: short windows, and no offsets into the past."""
    return re.sub(r" offset \w+", "", expr.replace("$__rate_interval", "1m"))


def _compared(expr: str) -> str:
    """Returns the alert's expression with 0 or 1 for every series that it looks at, not only for those that violate
    it."""
    expr = re.sub(r"(==|!=|<=|>=|<|>) (?=[\d.])", r"\1 bool ", _now(expr))
    return expr.replace("absent(", "count(")


def test_every_query_of_every_dashboard_has_data(seen: Mapping[str, dict]) -> None:
    empty = [key for key, found in seen["panels"].items() if not found]
    assert not empty
    # Metrics that are zero in a healthy system have data, too: zero.
    no_number = [
        key for key, found in seen["panels"].items() if all(math.isnan(number) for _, number in found)
    ]
    assert not no_number


def test_every_alert_has_data(seen: Mapping[str, dict]) -> None:
    empty = [name for name, found in seen["alerts"].items() if not found]
    assert not empty
    wrong = [n for n, found in seen["alerts"].items() if all(math.isnan(number) for _, number in found)]
    assert not wrong
    assert {rule["health"] for rule in seen["rules"]} == {"ok"}
    assert {rule["name"] for rule in seen["rules"]} == set(seen["alerts"])


def test_every_metric_of_the_list_is_served_with_its_type_by_the_named_processes(
    seen: Mapping[str, dict],
) -> None:
    for metric in KNOWN.values():
        for job in metric.by:
            name = metric.name if job == "triton" else metric.name.removesuffix("_total")
            found = seen["types"][job]
            assert found.get(metric.name, found.get(name)) == metric.kind, (metric.name, job)


def test_we_serve_no_metric_that_is_not_in_the_list(seen: Mapping[str, dict]) -> None:
    listed = {metric.name for metric in own()}
    for series in (*seen["series"]["server"], *seen["series"]["ingest"]):
        name = series["__name__"]
        if name.startswith("recstream_") and not name.endswith(
            "_created"
        ):  # The time when a series began, which we do not use.
            metric = metric_of(name, KNOWN)
            assert metric is not None and metric.name in listed, series


def test_every_label_has_a_value_within_its_bounds(seen: Mapping[str, dict]) -> None:
    for series in (*seen["series"]["server"], *seen["series"]["ingest"]):
        metric = metric_of(series["__name__"], KNOWN)
        if metric is None or not metric.name.startswith("recstream_"):
            continue
        labels = {k: v for k, v in series.items() if k not in ("__name__", "job", "instance", "le")}
        assert set(labels) == set(metric.labels), series
        for label, value in labels.items():
            assert metric.values[label].holds(value), series


def test_a_surface_that_a_client_invents_has_no_series(seen: Mapping[str, dict]) -> None:
    surfaces = {
        series["surface"]
        for series in (*seen["series"]["server"], *seen["series"]["ingest"])
        if "surface" in series
    }
    assert surfaces == {"default", "evaluation"}
