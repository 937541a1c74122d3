"""The gauge of open streams, by surface and by the model version of their slates."""

from collections import Counter

from server import metrics


class StreamGauge:
    """One stream's contribution to the gauge. Call `clear` when the stream ends."""

    _counts: Counter[tuple[str, str]] = Counter()

    def __init__(self) -> None:
        self._key: tuple[str, str] | None = None

    def set(self, surface: str, version: str) -> None:
        """Count the stream under a surface and a model version, given as label values."""
        if (surface, version) != self._key:
            self.clear()
            self._key = surface, version
            self._add(self._key, 1)

    def clear(self) -> None:
        """Stop counting the stream."""
        if self._key is not None:
            self._add(self._key, -1)
            self._key = None

    def _add(self, key: tuple[str, str], by: int) -> None:
        self._counts[key] += by
        if self._counts[key]:
            metrics.STREAMS_BY_VERSION.labels(*key).set(self._counts[key])
        else:
            # A retired version or a removed surface leaves no series behind.
            del self._counts[key]
            metrics.STREAMS_BY_VERSION.remove_by_labels({"surface": key[0], "version": key[1]})
