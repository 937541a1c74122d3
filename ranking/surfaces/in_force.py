"""The surfaces in force. They are replaced as a whole, between two batches of lists."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from prometheus_client import Counter, Gauge, Histogram

from catalog.items.item_changes import Record
from ranking.settings import DEFAULT_SURFACE, Surfaces, SurfaceSettings
from ranking.surfaces import metrics
from ranking.surfaces.record import decode
from recstream.v1 import rules_pb2
from telemetry.faults import hold_back

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class SurfacesInForce:
    """The surfaces of one version. It is immutable. A batch reads it once, so that all of it is of one version.

    Attributes:
        version: Their version. 0: those of the process's settings.
        settings: The settings of each surface, with what it takes from `default`; `default` first.
        rules: The rules of each surface. None: it has none.
    """

    version: int
    settings: Mapping[str, SurfaceSettings]
    rules: Mapping[str, rules_pb2.ListRules | None]

    @classmethod
    def of(cls, surfaces: Surfaces, version: int = 0) -> "SurfacesInForce":
        """The surfaces of a file or of the settings."""
        settings = {name: surfaces.surface(name) for name in surfaces.surface_names}
        return cls(version, settings, {name: each.rules.message() for name, each in settings.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """All surfaces, `default` first."""
        return tuple(self.settings)

    def known(self, name: str) -> str:
        """The surface that makes the lists of this one: itself, or `default` if it was removed since a stream
        opened."""
        return name if name in self.settings else DEFAULT_SURFACE


Listener: TypeAlias = Callable[[SurfacesInForce, SurfacesInForce], None]
"""Is called with the surfaces before and those after."""


class LiveSurfaces:
    """Holds the surfaces in force. Call the object to get them.

    Args:
        settings: The surfaces of the settings. They are in force until a version is read, or while the version in force
            says so.
    """

    def __init__(self, settings: Surfaces) -> None:
        self._settings = settings
        self._in_force = SurfacesInForce.of(settings)
        self._listeners: list[Listener] = []
        metrics.VERSION.set(0)
        metrics.REFUSED.set(0)

    def __call__(self) -> SurfacesInForce:
        return self._in_force

    def listen(self, listener: Listener) -> None:
        """Calls the listener with every change from now on."""
        self._listeners.append(listener)

    def on_record(self, record: Record) -> None:
        """Takes a record of the topic `surfaces`. A removed one was an old version, and changes nothing.

        Raises:
            BadRecord: It cannot be read, or its surfaces are not valid. What is in force stays.
        """
        if record.value is None:
            return
        try:
            read = decode(record.key, record.value)
        except Exception:
            metrics.REFUSED.set(1)
            raise
        before = self._in_force
        surfaces = read.surfaces if read.surfaces is not None else self._settings
        self._in_force = after = SurfacesInForce.of(surfaces, read.version)
        metrics.VERSION.set(read.version)
        metrics.REFUSED.set(0)
        log.info(
            "surfaces_in_force",
            version=read.version,
            surfaces=len(after.names),
            from_settings=read.surfaces is None,
            applied_by=read.applied_by,
            comment=read.comment,
        )
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception as error:  # the others must learn of the change all the same
                hold_back("surfaces-listener", error)


def changed(name: str, before: SurfacesInForce, after: SurfacesInForce) -> bool:
    """Whether a surface's lists may differ from before."""
    was, now = before.known(name), after.known(name)
    return was != now or before.settings[was] != after.settings[now]


def retiring(series: Sequence[Counter | Gauge | Histogram]) -> Listener:
    """A listener that removes the series of removed surfaces.

    Args:
        series: Metrics with a label `surface`.
    """

    def retire(before: SurfacesInForce, after: SurfacesInForce) -> None:
        for name in before.settings.keys() - after.settings.keys():
            for metric in series:
                metric.remove_by_labels({"surface": name})

    return retire
