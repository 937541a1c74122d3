"""Parses and checks PromQL expressions, in the forms that our dashboards and alerts use."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from telemetry.dashboards.metrics import Kind, Metric

_SELECTOR: Final = re.compile(r"\b((?:recstream|process|nv)_[a-z0-9_]+)(\{[^}]*\})?(\[[^\]]+\])?")
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_COUNTING: Final = ("rate", "increase", "irate")
_GROUPING: Final = re.compile(r"\bby \(([^)]*)\)")
_BUCKET: Final = "_bucket"


@dataclass(frozen=True, slots=True)
class Use:
    """One selector in an expression.

    Attributes:
        name: The name of the series.
        function: The function that is applied to the selector directly. Empty: none.
        matched: The labels that it matches.
        over_time: Whether it has a window.
    """

    name: str
    function: str
    matched: tuple[str, ...]
    over_time: bool


def uses(expr: str) -> Iterator[Use]:
    """Yields every selector of the expression."""
    for found in _SELECTOR.finditer(expr):
        before = re.search(r"(\w+)\($", expr[: found.start()])
        matched = tuple(_MATCHER.findall(found[2] or ""))
        yield Use(found[1], before[1] if before else "", matched, found[3] is not None)


def metric_of(name: str, known: Mapping[str, Metric]) -> Metric | None:
    """Returns the metric that a series belongs to. None if it is unknown."""
    if (metric := known.get(name)) is not None and name in metric.series:
        return metric
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    metric = known.get(base)
    return metric if metric is not None and name in metric.series else None


def problems(expr: str, known: Mapping[str, Metric]) -> Iterator[str]:
    """Yields what is wrong with an expression: unknown metrics and labels, and functions that do not fit the metric."""
    grouped = {label.strip() for group in _GROUPING.findall(expr) for label in group.split(",")}
    labels: set[str] = set()
    for use in uses(expr):
        metric = metric_of(use.name, known)
        if metric is None:
            yield f"{use.name} does not exist"
            continue
        labels |= {*metric.labels, *(("le",) if use.name.endswith(_BUCKET) else ())}
        if unknown := set(use.matched) - set(metric.labels):
            yield f"{use.name} has no label {', '.join(sorted(unknown))}"
        yield from _misfits(use, metric)
    if unknown := grouped - labels - _SCRAPED:
        yield f"nothing has the label {', '.join(sorted(unknown))}"
    if "histogram_quantile" in expr and not any(use.name.endswith(_BUCKET) for use in uses(expr)):
        yield "histogram_quantile without a bucket"


_SCRAPED: Final = {"job", "instance"}


def _misfits(use: Use, metric: Metric) -> Iterator[str]:
    counts = metric.kind is not Kind.GAUGE
    if use.function in _COUNTING and not counts:
        yield f"{use.function}() of the {metric.kind} {use.name}"
    if counts and use.function not in _COUNTING and use.function not in ("absent", "count"):
        yield f"{use.name} is a {metric.kind}: only its rate has a meaning"
    if use.function in _COUNTING and not use.over_time:
        yield f"{use.function}() of {use.name} without a window"
