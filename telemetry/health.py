"""The readiness of a process: the AND of named components. Shutdown is one of them."""

import asyncio
import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client import Gauge

SHUTDOWN: Final = "process"
"""The component that becomes unready when the process begins to shut down."""
_REASON_CHARACTERS: Final = 500


class Health:
    """The components of a process, and the reason of each that is not ready.

    A process is ready while all components are. Call all methods on the event loop's thread.

    Args:
        ready: A gauge with the label `component`, which is set to 1 while the component is ready, else to 0. None: no
            metric.
    """

    def __init__(self, ready: Gauge | None = None) -> None:
        self._gauge = ready
        self._not_ready: dict[str, str] = {}
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether every component is ready."""
        return not self._not_ready

    @property
    def not_ready(self) -> Mapping[str, str]:
        """The reason of each unready component, by the component's name."""
        return MappingProxyType(self._not_ready)

    @property
    def shutting_down(self) -> bool:
        """Whether the process has begun to shut down."""
        return SHUTDOWN in self._not_ready

    @property
    def changed(self) -> asyncio.Event:
        """The event that the next change sets. Get it before you read the state, so that you miss no change."""
        return self._changed

    def up(self, component: str) -> None:
        """Marks a component as ready."""
        self._not_ready.pop(component, None)
        if self._gauge is not None:
            self._gauge.labels(component).set(1)
        self._notify()

    def down(self, component: str, reason: str) -> None:
        """Marks a component as not ready.

        Args:
            component: Its name.
            reason: Why, in a few words for an operator. The first 500 characters are kept.
        """
        self._not_ready[component] = reason[:_REASON_CHARACTERS]
        if self._gauge is not None:
            self._gauge.labels(component).set(0)
        self._notify()

    def remove(self, component: str) -> None:
        """Removes a component that the process no longer has."""
        self._not_ready.pop(component, None)
        if self._gauge is not None:
            with contextlib.suppress(KeyError):
                self._gauge.remove(component)
        self._notify()

    def shut_down(self) -> None:
        """Marks the process as shutting down. It stays unready until it ends."""
        self.down(SHUTDOWN, "is shutting down")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
