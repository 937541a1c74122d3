"""Latencies from the producer's send to the first frame that names the event."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from recstream.v1 import frame_pb2


@dataclass(frozen=True, slots=True)
class Sent:
    """A sent event. `at` is the time just before the send, monotonic seconds."""

    event_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A received frame.

    Attributes:
        at: The time of receipt, monotonic seconds.
        event_ids: The events that it names.
    """

    at: float
    event_ids: frozenset[str]


@dataclass(slots=True)
class Latencies:
    """The events and frames of the users whose streams stay open."""

    sent: dict[str, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    frames: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))

    def frame(self, user_id: str, at: float, causes: Iterable[frame_pb2.Cause]) -> None:
        """Records a frame."""
        self.frames[user_id].append(Seen(at, frozenset(cause.event_id for cause in causes)))

    def milliseconds(self) -> list[float]:
        """Returns the latency of each event that a frame named, in no particular order."""
        found = []
        for user_id, events in self.sent.items():
            for event in events:
                frames = self.frames[user_id]
                first = next((frame for frame in frames if event.event_id in frame.event_ids), None)
                if first is not None:
                    found.append((first.at - event.at) * 1000)
        return found

    def summary(self) -> dict[str, object]:
        """Returns the figures that the demo reports."""
        events = sum(map(len, self.sent.values()))
        found = self.milliseconds()
        p50, p99 = np.percentile(found, [50, 99]) if found else (float("nan"), float("nan"))
        return {
            "frames_sent": sum(map(len, self.frames.values())),
            "events_without_frame": round(1 - len(found) / max(events, 1), 4),
            "event_to_frame_ms": {"p50": round(float(p50), 2), "p99": round(float(p99), 2)},
        }
