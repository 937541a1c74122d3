"""How many streams show a list of which surface, made by which version."""

from collections import Counter

from server import metrics


class Showing:
    """One stream's part in the count, which is the process's. Call `ends` in the end."""

    _counts: Counter[tuple[str, str]] = Counter()

    def __init__(self, surface: str) -> None:
        self._surface = surface
        self._version: str | None = None

    def shows(self, version: str) -> None:
        """The stream shows a list of this version (a label's value) from now on."""
        if version != self._version:
            self.ends()
            self._add(version, 1)
            self._version = version

    def ends(self) -> None:
        """The stream shows nothing any more."""
        if self._version is not None:
            self._add(self._version, -1)
            self._version = None

    def _add(self, version: str, by: int) -> None:
        key = self._surface, version
        self._counts[key] += by
        if self._counts[key]:
            metrics.STREAMS_SHOWING.labels(*key).set(self._counts[key])
        else:
            # None left: a version that is retired leaves no series behind.
            del self._counts[key]
            metrics.STREAMS_SHOWING.remove_by_labels({"surface": key[0], "version": key[1]})
