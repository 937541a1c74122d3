"""The rewind window: the offset of each partition some seconds ago, from which lost writes are applied again."""

from collections import deque

_STEPS = 16


class RewindWindow:
    """The offsets that the store acknowledged in the last `window` seconds, by partition.

    A store that fails over may lose its last writes. The window ends at the last acknowledgement, not now, so that an
    outage of an hour does not empty it. It measures the time of the writes, not of the records, because a consumer that
    catches up writes days of records in seconds. It holds about 16 offsets a partition.

    Args:
        window: The length in seconds.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._marks: dict[int, deque[tuple[float, int]]] = {}
        self._last: dict[int, float] = {}

    def start(self, partition: int, offset: int, now: float) -> None:
        """Clears the partition's window, and starts it at this offset, at `now` in monotonic seconds."""
        self._marks[partition] = deque([(now, offset)])
        self._last[partition] = now

    def note(self, partition: int, before: int, now: float) -> None:
        """Notes that the store acknowledged everything below offset `before` at `now`, in monotonic seconds."""
        marks = self._marks.get(partition)
        if marks is None:
            self.start(partition, before, now)
            return
        self._last[partition] = now
        if now - marks[-1][0] >= self._window / _STEPS:
            marks.append((now, before))
        while len(marks) > 1 and marks[1][0] <= now - self._window:
            marks.popleft()

    def start_of(self, partition: int) -> int | None:
        """Returns the offset to rewind to. None if the partition was never started."""
        marks = self._marks.get(partition)
        if marks is None:
            return None
        until = self._last[partition] - self._window
        older = [offset for time, offset in marks if time <= until]
        return older[-1] if older else marks[0][1]
