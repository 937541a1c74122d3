"""Where each partition stood some seconds ago, so that what a store lost can be applied again."""

from collections import deque

_STEPS = 16


class RewindWindow:
    """What was acknowledged by the store, by partition, over the last `window` seconds of acknowledgements.

    A store that fails over may lose the writes of its last moments. Time is counted back from the last
    acknowledgement, not from now, so that an outage of an hour leaves the window whole. It is the time of the
    writes and not of the records: a consumer that catches up writes days of records in seconds.
    Holds at most about 16 numbers a partition.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._marks: dict[int, deque[tuple[float, int]]] = {}
        self._last: dict[int, float] = {}

    def start(self, partition: int, offset: int, now: float) -> None:
        """Forget what was, and start at this offset."""
        self._marks[partition] = deque([(now, offset)])
        self._last[partition] = now

    def note(self, partition: int, before: int, now: float) -> None:
        """All below offset `before` is acknowledged at `now` (monotonic seconds)."""
        marks = self._marks.get(partition)
        if marks is None:
            self.start(partition, before, now)
            return
        self._last[partition] = now
        if now - marks[-1][0] >= self._window / _STEPS:
            marks.append((now, before))
        while len(marks) > 1 and marks[1][0] <= now - self._window:
            marks.popleft()

    def safe(self, partition: int) -> int | None:
        """The offset to read again from; None: nothing is known of the partition."""
        marks = self._marks.get(partition)
        if marks is None:
            return None
        until = self._last[partition] - self._window
        older = [offset for time, offset in marks if time <= until]
        return older[-1] if older else marks[0][1]
