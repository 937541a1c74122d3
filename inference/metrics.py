"""Metrics of the calls to Triton.

Labels: `graph` is one of `GRAPHS`, or a graph that adds a modality. `reason` is one of `FAILURES`.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from inference.bundle.graphs import GRAPHS as _ALL
from telemetry.labels import LabelValues, LabelValuesOf

GRAPHS: Final = tuple(_ALL)
FAILURES: Final = (
    "deadline",
    "unreachable",
    "refused",
    "not_finite",
    "wrong_shape",
    "breaker",
    "unknown_version",
)

CALL_SECONDS = Histogram(
    "recstream_inference_call_seconds",
    "Time of a successful Triton call, by graph.",
    ["graph"],
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1.0, 4.0),
)
CALL_ROWS = Histogram(
    "recstream_inference_call_rows",
    "Rows of a Triton call, by graph.",
    ["graph"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
CALL_FAILURES = Counter(
    "recstream_inference_call_failures_total", "Triton calls without a usable answer.", ["graph", "reason"]
)
for _graph in GRAPHS:
    for _reason in FAILURES:
        CALL_FAILURES.labels(_graph, _reason)
BREAKER_OPEN = Gauge(
    "recstream_inference_breaker_open", "1 while the graph's circuit breaker is open.", ["graph"]
)
for _graph in GRAPHS:
    BREAKER_OPEN.labels(_graph)

_GRAPHS: Final = LabelValues(GRAPHS, "one graph for each modality of the model", r"\w+")
LABEL_VALUES: Final[LabelValuesOf] = {
    (CALL_SECONDS, "graph"): _GRAPHS,
    (CALL_ROWS, "graph"): _GRAPHS,
    (CALL_FAILURES, "graph"): _GRAPHS,
    (CALL_FAILURES, "reason"): LabelValues(FAILURES),
    (BREAKER_OPEN, "graph"): _GRAPHS,
}
