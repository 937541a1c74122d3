"""Deadlines, on the clock of time.monotonic()."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the client gives up, and the moments before it that matter. Seconds of time.monotonic().

    client: the client's own, or the default's. answer: the list has to be there. events: the wait for events ends.
    """

    client: float
    answer: float
    events: float

    @property
    def left(self) -> float:
        """Seconds until the list has to be there; never negative."""
        return max(0.0, self.answer - time.monotonic())


def deadline(
    remaining: float | None, settings: ServerSettings, clock: Callable[[], float] = time.monotonic
) -> Deadline:
    """The deadline of a call that has `remaining` seconds left; None: the client set none."""
    # grpc says "none" with None or with a time that never comes.
    if remaining is None or remaining > 86_400 * 365:
        remaining = settings.default_deadline_ms / 1000
    remaining = max(0.0, min(remaining, settings.max_deadline_ms / 1000))
    client = clock() + remaining
    answer = client - min(settings.answer_reserve_ms / 1000, remaining / 3)
    return Deadline(client, answer, answer - min(settings.ranking_reserve_ms / 1000, remaining / 3))
