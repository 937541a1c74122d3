"""The gauge of open streams, by the surface and the model version of the slate that each one shows."""

from collections import Counter

from server import metrics


class StreamGauge:
    """One stream's part of the gauge. Call `clear` when the stream ends.

    Args:
        surface: The surface of the stream, as a label's value.
    """

    _counts: Counter[tuple[str, str]] = Counter()

    def __init__(self, surface: str) -> None:
        self._surface = surface
        self._version: str | None = None

    def set(self, version: str) -> None:
        """Count the stream under a model version, as a label's value."""
        if version != self._version:
            self.clear()
            self._add(version, 1)
            self._version = version

    def clear(self) -> None:
        """Count the stream no longer."""
        if self._version is not None:
            self._add(self._version, -1)
            self._version = None

    def _add(self, version: str, by: int) -> None:
        key = self._surface, version
        self._counts[key] += by
        if self._counts[key]:
            metrics.STREAMS_BY_VERSION.labels(*key).set(self._counts[key])
        else:
            # A version that is retired leaves no series behind.
            del self._counts[key]
            metrics.STREAMS_BY_VERSION.remove_by_labels({"surface": key[0], "version": key[1]})
