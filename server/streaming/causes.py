"""The events that a frame names as its causes. They are collected until the profile includes them."""

from collections.abc import Iterable, Mapping
from typing import Final

from profiles.announcements.announcement import AppliedEvent
from profiles.times import timestamp
from recstream.v1 import frame_pb2, interaction_pb2
from server import metrics

MOST: Final = 64
Partition = tuple[bytes, int]


class Causes:
    """The causes that wait for a frame, at most 64.

    A cause covers all events of its user on its partition up to its offset. When there are too many, the oldest one
    that a later cause of the same partition covers is dropped first, so that every event stays covered.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, int, int, str], frame_pb2.Cause] = {}
        self._named: dict[Partition, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, watermarks: Mapping[Partition, int]) -> None:
        """Start with the watermarks of the first slate. Events in it are only named if they are announced."""
        self._named = dict(watermarks)

    def add(self, applied: Iterable[AppliedEvent]) -> None:
        """Add the events of an announcement. Skip those that already wait."""
        for one in applied:
            at = one.position
            key = (at.topic_id, at.partition, at.offset, one.event_id)  # A record may hold several events.
            if key in self._waiting:
                continue
            self._waiting[key] = _cause(one)
            if len(self._waiting) > MOST:
                self._drop_one()

    def all_in(self, watermarks: Mapping[Partition, int]) -> bool:
        """Return whether a profile with these watermarks includes every waiting event."""
        return all(watermarks.get((t, p), -1) >= offset for t, p, offset, _ in self._waiting)

    def take(self, watermarks: Mapping[Partition, int], missed: bool) -> list[frame_pb2.Cause]:
        """Remove and return the causes that a profile includes.

        Args:
            watermarks: The profile's watermarks, by topic id and partition.
            missed: Whether an announcement was lost. Then a watermark beyond all named events is a cause too, with only
                its position.

        Returns:
            The newest 64 causes.
        """
        ready = [key for key in self._waiting if watermarks.get(key[:2], -1) >= key[2]]
        included = [self._waiting.pop(key) for key in ready]
        for topic_id, partition, offset, _ in ready:
            self._named[topic_id, partition] = max(offset, self._named.get((topic_id, partition), -1))
        if missed:
            for (topic_id, partition), offset in watermarks.items():
                if self._named.get((topic_id, partition), -1) < offset:
                    self._named[topic_id, partition] = offset
                    token = interaction_pb2.EventToken(topic_id=topic_id, partition=partition, offset=offset)
                    included.append(frame_pb2.Cause(token=token))
        return included[-MOST:]

    def _drop_one(self) -> None:
        newest: dict[Partition, tuple[int, str]] = {}
        for topic_id, partition, offset, event_id in self._waiting:
            newest[topic_id, partition] = max((offset, event_id), newest.get((topic_id, partition), (-1, "")))
        first = next(iter(self._waiting))
        stood_for = (key for key in self._waiting if key[2:] < newest[key[:2]])
        del self._waiting[next(stood_for, first)]
        metrics.CAUSES_DROPPED.inc()


def _cause(one: AppliedEvent) -> frame_pb2.Cause:
    return frame_pb2.Cause(
        token=interaction_pb2.EventToken(
            topic_id=one.position.topic_id, partition=one.position.partition, offset=one.position.offset
        ),
        event_id=one.event_id,
        item_id=one.item_id,
        action=one.action,
        event_time=timestamp(one.time_ms),
        record_time=timestamp(one.record_time_ms),
    )
