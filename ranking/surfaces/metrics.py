"""Metrics of the surfaces. Every process that reads them has them."""

from typing import Final

from prometheus_client import Gauge

from telemetry.labels import LabelValuesOf

VERSION: Final = Gauge(
    "recstream_surfaces_version", "Version of the surfaces in force; 0: those of the process's settings"
)
REFUSED: Final = Gauge(
    "recstream_surfaces_refused",
    "1 while the last record on the topic `surfaces` is refused, and the version before it stays in force",
)
LABEL_VALUES: Final[LabelValuesOf] = {}
