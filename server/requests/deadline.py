"""Deadlines of calls, on `time.monotonic()`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadlines of one call, in seconds of `time.monotonic()`.

    Attributes:
        client: The client's deadline.
        answer: When the answer must be ready.
        events: When the wait for events ends.
    """

    client: float
    answer: float
    events: float

    @property
    def left(self) -> float:
        """Seconds until the answer must be ready, at least 0."""
        return max(0.0, self.answer - time.monotonic())


def deadline(
    remaining: float | None, settings: ServerSettings, clock: Callable[[], float] = time.monotonic
) -> Deadline:
    """Return the deadlines of a call.

    Args:
        remaining: Seconds until the client's deadline. None: it set no deadline.
        settings: The default and the longest deadline, and the time reserved for ranking and answering.
        clock: Returns the time in seconds.
    """
    # gRPC reports a missing deadline as None or as one in the distant future.
    if remaining is None or remaining > 86_400 * 365:
        remaining = settings.default_deadline_ms / 1000
    remaining = max(0.0, min(remaining, settings.max_deadline_ms / 1000))
    client = clock() + remaining
    answer = client - min(settings.answer_reserve_ms / 1000, remaining / 3)
    return Deadline(client, answer, answer - min(settings.ranking_reserve_ms / 1000, remaining / 3))
