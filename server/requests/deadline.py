"""Deadlines of calls, on `time.monotonic()`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Deadline:
    """The deadlines of one call, in seconds of `time.monotonic()`.

    Attributes:
        client: When the client gives up.
        answer: When the answer has to be there.
        events: When the wait for events ends.
    """

    client: float
    answer: float
    events: float

    @property
    def left(self) -> float:
        """Seconds until the answer has to be there; never negative."""
        return max(0.0, self.answer - time.monotonic())


def deadline(
    remaining: float | None, settings: ServerSettings, clock: Callable[[], float] = time.monotonic
) -> Deadline:
    """Return the deadlines of a call.

    Args:
        remaining: Seconds until the client gives up. None: it set no deadline.
        settings: The default and the longest deadline, and what is kept for ranking and answering.
    """
    # grpc has two forms of "no deadline": None, and a time that is far away.
    if remaining is None or remaining > 86_400 * 365:
        remaining = settings.default_deadline_ms / 1000
    remaining = max(0.0, min(remaining, settings.max_deadline_ms / 1000))
    client = clock() + remaining
    answer = client - min(settings.answer_reserve_ms / 1000, remaining / 3)
    return Deadline(client, answer, answer - min(settings.ranking_reserve_ms / 1000, remaining / 3))
