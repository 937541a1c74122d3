"""Reads traces from the exporter's file, and draws one as SVG, with a bar for each span."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

_LABEL, _CHART, _VALUE, _ROW, _HEAD = 300, 520, 70, 22, 76
_INK, _GRID, _WAIT = "#6b7280", "#9ca3af", "#9ca3af"
_COLORS: Final = ("#d97706", "#2563eb", "#059669", "#7c3aed")
_TICKS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of the file. `parent` is the id of its parent span; empty: none. Times are Unix nanoseconds."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    failed: bool


def read_traces(file: Path) -> list[Span]:
    """Returns every span in a file of the exporter `file` or of a collector, in the order of their starts.

    Raises OSError, and ValueError or KeyError if the file has another form.
    """
    found = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            for resource in json.loads(line)["resourceSpans"]:
                service = str(_attributes(resource["resource"])["service.name"])
                for scope in resource["scopeSpans"]:
                    found += [_span(service, span) for span in scope["spans"]]
    return sorted(found, key=lambda span: span.start_ns)


def way(span: Span, trace: Iterable[Span]) -> list[str]:
    """Returns the names of the spans from the topmost known ancestor down to this span."""
    by_id = {each.span_id: each for each in trace}
    names = []
    at: Span | None = span
    while at is not None:
        names.append(at.name)
        at = by_id.get(at.parent)
    return names[::-1]


def waterfall(trace: Sequence[Span], title: str) -> str:
    """Draws a trace, with children below their parents. A hatched bar before the span of a record is the time that the
    record waited in Kafka, in whole milliseconds."""
    began = min(span.start_ns for span in trace)
    whole = max(span.end_ns for span in trace) - began or 1
    services = list(dict.fromkeys(span.service for span in trace))
    height = _HEAD + _ROW * len(trace) + 8
    width = _LABEL + _CHART + _VALUE

    def x(at_ns: int) -> float:
        return round(_LABEL + (at_ns - began) / whole * _CHART, 1)

    parts = [f'<text x="0" y="16" fill="{_INK}" font-weight="600">{escape(title)}</text>']
    keys = [(service, _color(services, service)) for service in services]
    for place, (name, fill) in enumerate([*keys, ("in Kafka", "url(#waits)")]):
        left = place * 150
        parts += [
            f'<rect x="{left}" y="28" width="12" height="12" rx="2" fill="{fill}"/>',
            f'<text x="{left + 18}" y="38" fill="{_INK}">{escape(name)}</text>',
        ]
    step = next((tick for tick in _TICKS if whole / 1e6 / tick <= 8), 1000.0)
    for number in range(int(whole / 1e6 / step) + 1):
        at = x(began + int(number * step * 1e6))
        parts += [
            f'<path d="M{at} {_HEAD - 4}V{height - 8}" stroke="{_GRID}" stroke-opacity="0.3"/>',
            f'<text x="{at}" y="{_HEAD - 10}" text-anchor="middle" fill="{_INK}">{number * step:g}</text>',
        ]
    parts.append(f'<text x="{width}" y="{_HEAD - 10}" text-anchor="end" fill="{_INK}">ms</text>')
    for row, (depth, span) in enumerate(_in_order(trace)):
        top = _HEAD + row * _ROW
        parts += _bar(span, depth, top, x, _color(services, span.service))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="system-ui, sans-serif" font-size="13" role="img">',
            f"<title>{escape(title)}</title>",
            '<defs><pattern id="waits" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<path d="M0 6L6 0" stroke="{_WAIT}"/></pattern></defs>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _bar(span: Span, depth: int, top: int, x: Any, color: str) -> list[str]:
    left, right = x(span.start_ns), x(span.end_ns)
    parts = [f'<text x="{depth * 14}" y="{top + 15}" fill="{_INK}">{escape(span.name)}</text>']
    if waited_ms := int(span.attributes.get("recstream.record_age_ms", 0)):
        since = max(_LABEL, x(span.start_ns - waited_ms * 1_000_000))
        parts.append(
            f'<rect x="{since}" y="{top + 4}" width="{round(left - since, 1)}" height="14" fill="url(#waits)">'
            "<title>in Kafka</title></rect>"
        )
    milliseconds = (span.end_ns - span.start_ns) / 1e6
    parts += [
        f'<rect x="{left}" y="{top + 4}" width="{max(1.5, round(right - left, 1))}" height="14" rx="2" '
        f'fill="{color}" fill-opacity="0.8"/>',
        f'<text x="{max(right, left + 1.5) + 5}" y="{top + 15}" fill="{_INK}" font-size="11">{milliseconds:.2f}</text>',
    ]
    return parts


def _in_order(trace: Sequence[Span]) -> list[tuple[int, Span]]:
    """Returns each span with its depth, children below their parents, in the order of their starts."""
    known = {span.span_id for span in trace}
    found: list[tuple[int, Span]] = []

    def add(above: str, depth: int) -> None:
        for span in sorted(trace, key=lambda span: span.start_ns):
            if (span.parent if span.parent in known else "") == above:
                found.append((depth, span))
                add(span.span_id, depth + 1)

    add("", 0)
    return found


def _color(services: Sequence[str], service: str) -> str:
    return _COLORS[services.index(service) % len(_COLORS)]


def _span(service: str, span: dict[str, Any]) -> Span:
    return Span(
        service,
        span["name"],
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId", ""),
        int(span["startTimeUnixNano"]),
        int(span["endTimeUnixNano"]),
        _attributes(span),
        span.get("status", {}).get("code") == 2,
    )


def _attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values()), None) for each in of.get("attributes", ())}
