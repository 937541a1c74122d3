"""Spans that processes left in a file, as a tree."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seen:
    """A span of the file. parent: the id of the span above it; empty: none. Times are Unix nanoseconds."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    failed: bool


def seen(file: Path) -> list[Seen]:
    """Every span, in the order in which they began."""
    found = []
    for line in file.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            service = _attributes(resource["resource"])["service.name"]
            for scope in resource["scopeSpans"]:
                found += [
                    Seen(
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
                    for span in scope["spans"]
                ]
    return sorted(found, key=lambda span: span.start_ns)


def way(span: Seen, spans: Iterable[Seen]) -> list[str]:
    """Names from the first span of the trace that is here down to this one."""
    by_id = {each.span_id: each for each in spans}
    names = []
    at: Seen | None = span
    while at is not None:
        names.append(at.name)
        at = by_id.get(at.parent)
    return names[::-1]


def _attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in of.get("attributes", [])}
