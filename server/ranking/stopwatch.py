"""Times the stages of one list."""

import time

from server.ranking import metrics


class Stopwatch:
    """Each lap ends one stage and begins the next."""

    __slots__ = ("_began", "_lap")

    def __init__(self) -> None:
        self._began = self._lap = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The stage that ends now; one of `metrics.STAGES`."""
        now = time.perf_counter()
        metrics.STAGE[stage].observe(now - self._lap)
        self._lap = now

    def stop(self, version: str) -> None:
        """The list is made, by this version (a label's value)."""
        metrics.LIST_SECONDS.labels(version).observe(time.perf_counter() - self._began)
