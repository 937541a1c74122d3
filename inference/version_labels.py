"""Model versions as label values of metrics. They stay few, because only live versions have series."""

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from inference.version_routing import VersionRouting
from telemetry.labels import OTHER


def version_label(version: int, routing: VersionRouting) -> str:
    """The label of a version: its number if it is live, `0` for no version, otherwise `other`."""
    return str(version) if version == 0 or version in routing.live else OTHER


class Retiring:
    """Removes the series of versions that are no longer live.

    Args:
        metrics: Metrics with a label `version`.
    """

    def __init__(self, metrics: Sequence[Counter | Gauge | Histogram]) -> None:
        self._metrics = tuple(metrics)
        self._live: frozenset[int] = frozenset()

    def follow(self, routing: VersionRouting) -> None:
        """Removes the series of versions that the routing no longer serves."""
        live = frozenset(routing.live)
        for version in self._live - live:
            for metric in self._metrics:
                metric.remove_by_labels({"version": str(version)})
        self._live = live
