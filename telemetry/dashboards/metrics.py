"""A typed list of all metrics of our processes, read from the code, and of the metrics of Triton that we use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from types import ModuleType
from typing import Final

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase

from telemetry.labels import LabelValues, LabelValuesOf

SERVER: Final = "server"
INGEST: Final = "ingest"
TRITON: Final = "triton"


class Kind(StrEnum):
    """The type of a metric, which decides its queries: rates of counters, quantiles of histograms, values of gauges."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: The name in a query; a histogram's without `_bucket`.
        kind: The type.
        meaning: What it measures.
        labels: The names of its labels.
        by: The processes that serve it.
        buckets: The upper bounds of a histogram, without the infinite one.
        values: The values of each label. Empty for metrics that are not ours.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...]
    by: tuple[str, ...]
    buckets: tuple[float, ...] = ()
    values: Mapping[str, LabelValues] = field(default_factory=dict)

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series in Prometheus."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)

    @property
    def unit(self) -> str:
        """The unit of its values."""
        base = self.name.removesuffix("_total")
        for ending, unit in _UNITS.items():
            if base.endswith(ending):
                return unit
        return "1"


_UNITS: Final = {
    "_timestamp_seconds": "Unix time, seconds",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_duration_us": "microseconds",
}
# Each room counts in a module of its own. They are loaded by name, because rooms import telemetry and not vice versa.
_MODULES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("server.metrics", (SERVER,)),
    ("ranking.metrics", (SERVER,)),
    ("ranking.surfaces.metrics", (SERVER, INGEST)),
    ("ingest.metrics", (INGEST,)),
    ("profiles.metrics", (SERVER, INGEST)),
    ("catalog.metrics", (SERVER, INGEST)),
    ("inference.metrics", (SERVER, INGEST)),
    ("telemetry.background", (SERVER, INGEST)),
    ("telemetry.faults", (SERVER, INGEST)),
    ("telemetry.unknown_fields", (SERVER, INGEST)),
)


def own() -> tuple[Metric, ...]:
    """Returns the metrics of recstream's rooms, room by room, in the order of their files."""
    return tuple(metric for name, by in _MODULES for metric in _of(import_module(name), by))


def runtime() -> tuple[Metric, ...]:
    """Returns the metrics that the Prometheus client adds on Linux and that we use."""
    by = (SERVER, INGEST)
    return (
        Metric("process_resident_memory_bytes", Kind.GAUGE, "Memory of the process", (), by),
        Metric("process_cpu_seconds_total", Kind.COUNTER, "CPU time of the process", (), by),
        Metric("process_open_fds", Kind.GAUGE, "Open file descriptors", (), by),
        Metric("process_max_fds", Kind.GAUGE, "Most file descriptors that may be open", (), by),
        Metric("process_start_time_seconds", Kind.GAUGE, "When the process started, Unix time", (), by),
    )


def triton() -> tuple[Metric, ...]:
    """Returns the metrics of Triton's metrics port that we use. Durations are sums, in microseconds."""

    def counter(name: str, meaning: str, *labels: str) -> Metric:
        return Metric(f"nv_inference_{name}", Kind.COUNTER, meaning, ("model", "version", *labels), (TRITON,))

    return (
        counter("request_success", "Answered requests"),
        counter("request_failure", "Failed requests", "reason"),
        counter("count", "Computed rows"),
        counter("exec_count", "Executions; rows divided by executions is the batch size"),
        counter("request_duration_us", "Total time of requests"),
        counter("queue_duration_us", "Time that requests waited for a batch"),
        counter("compute_input_duration_us", "Time for preparing inputs"),
        counter("compute_infer_duration_us", "Time for running models"),
        counter("compute_output_duration_us", "Time for preparing outputs"),
        Metric(
            "nv_inference_pending_request_count",
            Kind.GAUGE,
            "Requests that wait for execution",
            ("model", "version"),
            (TRITON,),
        ),
    )


def every() -> dict[str, Metric]:
    """Returns all metrics by name."""
    return {metric.name: metric for metric in (*own(), *runtime(), *triton())}


def _of(module: ModuleType, by: tuple[str, ...]) -> Iterator[Metric]:
    stated: LabelValuesOf = getattr(module, "LABEL_VALUES", {})
    for found in vars(module).values():
        if not isinstance(found, MetricWrapperBase):
            continue
        (family,) = found.describe()
        kind = Kind(family.type)
        buckets = tuple(found._upper_bounds[:-1]) if isinstance(found, prometheus_client.Histogram) else ()
        yield Metric(
            f"{family.name}_total" if kind is Kind.COUNTER else family.name,
            kind,
            family.documentation.rstrip("."),
            tuple(found._labelnames),
            by,
            buckets,
            {label: stated[found, label] for label in found._labelnames},
        )
