"""Times the stages of one list."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ranking import metrics
from telemetry.tracing.spans import child


class Stopwatch:
    """Started when it is made."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        """One of `metrics.STAGES`, while inside; a step of the events that are traced."""
        began = time.perf_counter()
        with child(stage):
            yield
        metrics.STAGE[stage].observe(time.perf_counter() - began)

    def stop(self, version: str) -> None:
        """The list is made, by this version (a label's value)."""
        metrics.LIST_SECONDS.labels(version).observe(time.perf_counter() - self._began)
