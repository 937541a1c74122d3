"""Generates docs/metrics.md from the list of metrics and the dashboards."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from telemetry.dashboards.dashboards import DASHBOARDS, NOT_SHOWN
from telemetry.dashboards.expressions import metric_of, uses
from telemetry.dashboards.metrics import Metric, every, own, runtime, triton

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

_HEAD: Final = """\
# Metrics

`make reference` generates this page from the code. A test checks that it is up to date.

Servers serve their metrics at `:50052/metrics`, ingest at `:9100/metrics`, and Triton at `:8002/metrics`. Every label
is bounded, by names in the code, the settings, Kafka, or the live model versions. A version that is not live is
`other`, and so is a surface of a sent list that is not in force. Version `0` means that no model was used. The
series of a retired version and of a removed surface are removed. Counters with a fixed set of labels exist from the
start, at zero. Histograms have `_bucket`, `_sum` and `_count`.

The dashboards are in `helm/recstream/files/dashboards/`, the alerts in `helm/recstream/files/alerts/`. Compose mounts
both folders; the chart renders them. [Runbooks](runbooks/README.md) has a page for each alert.

## Online quality

Ingest's role `quality` measures click-through and calibration. It reads events and sent lists as they come, and joins
them by `slate_id`. Clients have to send impressions of what users saw, and `slate_id` on impressions and actions. The
position is that of the item on the list, so clients need not send `position`. The version, the surface and the ranker's
probabilities are those of the list. Without impressions there is no click-through, and
`recstream_quality_events_total{outcome="no_impression"}` counts the actions that were left out. An item of an
impression or an action counts once for a position, and an undo subtracts nothing. Events of a user who did not get the
list count as `other_user` and not for the list. Figures start at zero with each process.

A single process of the role joins all events. With several, an event may miss its list, and count as `unknown_slate`,
if its producer chooses partitions in another way than the server, as librdkafka does by default.
"""


def page() -> str:
    """Returns the whole page."""
    parts = [_HEAD]
    groups = {
        "Servers": [m for m in own() if m.by == ("server",)],
        "Ingest": [m for m in own() if m.by == ("ingest",)],
        "Servers and ingest": [m for m in own() if len(m.by) > 1],
        "Every Python process": list(runtime()),
        "Triton": list(triton()),
    }
    for title, metrics in groups.items():
        parts.append(f"\n## {title}\n")
        parts.append("| metric | type | unit | meaning | labels | on |\n|---|---|---|---|---|---|")
        parts += [_row(metric) for metric in metrics]
    return "\n".join(parts) + "\n"


def shown_on() -> dict[str, tuple[str, ...]]:
    """Returns the dashboards that show each metric, in order."""
    known = every()
    found: dict[str, list[str]] = {name: [] for name in known}
    for dashboard in DASHBOARDS:
        for query in (query for panel in dashboard.panels for query in panel.queries):
            for use in uses(query.expr):
                metric = metric_of(use.name, known)
                if metric is not None and dashboard.uid not in found[metric.name]:
                    found[metric.name].append(dashboard.uid)
    return {name: tuple(uids) for name, uids in found.items()}


def _row(metric: Metric) -> str:
    where = shown_on()[metric.name]
    on = ", ".join(uid.removeprefix("recstream-") for uid in where) or NOT_SHOWN[metric.name]
    buckets = f"; buckets to {metric.buckets[-1]:g}" if metric.buckets else ""
    labels = "; ".join(_labels(metric)) or "none"
    meaning = metric.meaning.replace("|", r"\|")
    return f"| `{metric.name}` | {metric.kind}{buckets} | {metric.unit} | {meaning} | {labels} | {on} |"


def _labels(metric: Metric) -> Iterable[str]:
    for label in metric.labels:
        values = metric.values.get(label)
        yield f"`{label}`" if values is None else f"`{label}`: {values}"
