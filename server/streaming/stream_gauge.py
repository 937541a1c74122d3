"""The gauge of open streams, by surface and by the model version of their slates."""

from collections import Counter

from server import metrics


class StreamGauge:
    """One stream's contribution to the gauge. Call `clear` when the stream ends.

    Args:
        surface: The label value of the stream's surface.
    """

    _counts: Counter[tuple[str, str]] = Counter()

    def __init__(self, surface: str) -> None:
        self._surface = surface
        self._version: str | None = None

    def set(self, version: str) -> None:
        """Count the stream under a model version, given as a label value."""
        if version != self._version:
            self.clear()
            self._add(version, 1)
            self._version = version

    def clear(self) -> None:
        """Stop counting the stream."""
        if self._version is not None:
            self._add(self._version, -1)
            self._version = None

    def _add(self, version: str, by: int) -> None:
        key = self._surface, version
        self._counts[key] += by
        if self._counts[key]:
            metrics.STREAMS_BY_VERSION.labels(*key).set(self._counts[key])
        else:
            # A retired version leaves no series behind.
            del self._counts[key]
            metrics.STREAMS_BY_VERSION.remove_by_labels({"surface": key[0], "version": key[1]})
