"""Dashboards as values, and their conversion to Grafana's JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Json = Mapping[str, object]

_SCHEMA: Final = 39  # of Grafana 11
_COLUMNS: Final = 24
_HEIGHT: Final = 8
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


class Shape(StrEnum):
    """How a panel draws its series."""

    LINES = "timeseries"
    STACK = "stack"
    NUMBER = "stat"
    HEAT = "heatmap"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series: text with `{{label}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: The heading.
        description: What it shows, and what is good.
        unit: One of Grafana's unit names.
        queries: What it asks Prometheus.
        shape: How it draws.
        width: In columns, of 24.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    shape: Shape = Shape.LINES
    width: int = 8


@dataclass(frozen=True, slots=True)
class PanelRow:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard.

    Attributes:
        uid: Its name in links, and the name of its file.
        title: The heading.
        description: What it is for.
        rows: The panels, by row.
    """

    uid: str
    title: str
    description: str
    rows: tuple[PanelRow, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Every panel, in order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def grafana(dashboard: Dashboard) -> Json:
    """Returns the JSON that Grafana imports. Users choose the data source on the dashboard. `Filters` narrows every
    query by labels that the scrape adds, such as namespace and pod."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["recstream"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "recstream",
                "tags": ["recstream"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                    "hide": 0,
                    "refresh": 1,
                },
                {
                    "name": "filters",
                    "label": "Filters",
                    "type": "adhoc",
                    "datasource": _SOURCE,
                    "filters": [],
                    "hide": 0,
                },
            ]
        },
        "panels": _placed(dashboard.rows),
    }


def _placed(rows: Sequence[PanelRow]) -> list[Json]:
    placed: list[Json] = []
    top = number = 0
    for row in rows:
        number += 1
        grid = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        placed.append(
            {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": grid,
                "panels": [],
            }
        )
        top += 1
        left = height = 0
        for panel in row.panels:
            tall = _HEIGHT // 2 if panel.shape is Shape.NUMBER else _HEIGHT
            if left + panel.width > _COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            placed.append(
                _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": tall}),
            )
            left, height = left + panel.width, max(height, tall)
        top += height
    return placed


def _panel(panel: Panel, number: int, grid: Json) -> Json:
    kind = "timeseries" if panel.shape is Shape.STACK else panel.shape.value
    return {
        "id": number,
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": grid,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "custom": _drawn(panel.shape),
                "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}]},
            },
            "overrides": [],
        },
        "options": _options(panel.shape),
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "format": "heatmap" if panel.shape is Shape.HEAT else "time_series",
                "instant": False,
                "range": True,
            }
            for at, query in enumerate(panel.queries)
        ],
    }


def _drawn(shape: Shape) -> Json:
    if shape is Shape.STACK:
        return {
            "drawStyle": "line",
            "fillOpacity": 30,
            "lineWidth": 1,
            "stacking": {"mode": "normal", "group": "A"},
        }
    return {"drawStyle": "line", "fillOpacity": 5, "lineWidth": 1} if shape is Shape.LINES else {}


def _options(shape: Shape) -> Json:
    if shape is Shape.NUMBER:
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
        }
    if shape is Shape.HEAT:
        return {
            "calculate": False,
            "yAxis": {"unit": "s"},
            "color": {"scheme": "Spectral", "mode": "scheme"},
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
