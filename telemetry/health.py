"""Whether a process is ready: the AND of named components. Shutting down is one of them."""

import asyncio
import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client import Gauge

SHUTDOWN: Final = "process"
"""The component that is not ready from the moment at which the process begins to shut down."""
_REASON_CHARACTERS: Final = 500


class Health:
    """The components of a process, and why each of them that is not ready is not.

    A process is ready while every component is. All methods belong to the event loop's thread.

    Args:
        ready: A gauge with the label `component`: 1 while the component is ready, else 0. None: nothing is measured.
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
        """The reason of each component that is not ready, by the component's name."""
        return MappingProxyType(self._not_ready)

    @property
    def shutting_down(self) -> bool:
        """Whether the process has begun to shut down."""
        return SHUTDOWN in self._not_ready

    @property
    def changed(self) -> asyncio.Event:
        """The event that the next change sets. Take it before looking at the state, so that no change is missed."""
        return self._changed

    def up(self, component: str) -> None:
        """Mark a component as ready."""
        self._not_ready.pop(component, None)
        if self._gauge is not None:
            self._gauge.labels(component).set(1)
        self._notify()

    def down(self, component: str, reason: str) -> None:
        """Mark a component as not ready.

        Args:
            component: Its name.
            reason: Why, in a few words for an operator; the first 500 characters are kept.
        """
        self._not_ready[component] = reason[:_REASON_CHARACTERS]
        if self._gauge is not None:
            self._gauge.labels(component).set(0)
        self._notify()

    def remove(self, component: str) -> None:
        """Forget a component that the process no longer has."""
        self._not_ready.pop(component, None)
        if self._gauge is not None:
            with contextlib.suppress(KeyError):
                self._gauge.remove(component)
        self._notify()

    def shut_down(self) -> None:
        """Mark the process as shutting down: not ready, from now until it ends."""
        self.down(SHUTDOWN, "is shutting down")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
