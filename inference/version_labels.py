"""Model versions as values of a metric's label: few at any time, however many are published while a process lives."""

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from inference.version_routing import VersionRouting
from telemetry.labels import OTHER


def version_label(version: int, routing: VersionRouting) -> str:
    """The version if it is live, `0` for none, else `other`."""
    return str(version) if version == 0 or version in routing.live else OTHER


class Retiring:
    """Takes away the series of versions that are not live any more. The metrics have a label `version`."""

    def __init__(self, metrics: Sequence[Counter | Gauge | Histogram]) -> None:
        self._metrics = tuple(metrics)
        self._live: frozenset[int] = frozenset()

    def follow(self, routing: VersionRouting) -> None:
        """The versions that are live now."""
        live = frozenset(routing.live)
        for version in self._live - live:
            for metric in self._metrics:
                metric.remove_by_labels({"version": str(version)})
        self._live = live
