"""The events that a frame names as its causes. They are collected until the profile includes them."""

from collections.abc import Iterable, Mapping
from typing import Final

from profiles.actions import IMPRESSION
from profiles.announcements.announcement import AppliedEvent
from profiles.folding.events import Position
from profiles.profile import Entry, Impression, Profile
from profiles.times import timestamp
from recstream.v1 import frame_pb2
from server import metrics

MOST: Final = 64
Partition = tuple[bytes, int]
Key = tuple[Position, str]
"""The position and the id of an event. A record of another producer may hold several events."""


class Causes:
    """The causes that wait for a frame, the newest 64.

    Announcements bring them. If one was lost, its events are found in the profile's history: those beyond the floor
    that were not named. The floor is the offset of each partition up to which none is missing.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, frame_pb2.Cause] = {}
        self._floor: dict[Partition, int] = {}
        # Events beyond the floor that were named.
        self._named: set[Key] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, watermarks: Mapping[Partition, int]) -> None:
        """Start with the watermarks of what the client has. Events in it are only named if they are announced."""
        self._floor = dict(watermarks)

    def add(self, applied: Iterable[AppliedEvent]) -> None:
        """Add the events of an announcement. Skip those that already wait."""
        for one in applied:
            key = one.position, one.event_id
            if key in self._waiting:
                continue
            self._waiting[key] = _announced(one)
            if len(self._waiting) > MOST:
                del self._waiting[next(iter(self._waiting))]
                metrics.CAUSES_DROPPED.inc()

    def all_announced(self) -> None:
        """Raise the floor to what was named, because no announcement up to it was lost."""
        for (topic_id, partition, offset), _ in self._named:
            self._floor[topic_id, partition] = max(offset, self._floor.get((topic_id, partition), -1))
        self._named.clear()

    def all_in(self, watermarks: Mapping[Partition, int]) -> bool:
        """Return whether a profile with these watermarks includes every waiting event."""
        return all(watermarks.get(position[:2], -1) >= position.offset for position, _ in self._waiting)

    def take(self, profile: Profile | None, missed: bool) -> list[frame_pb2.Cause]:
        """Remove and return the causes that a profile includes.

        Args:
            profile: The profile. None: the user has none.
            missed: Whether an announcement was lost. Then the events of the profile are causes too, unless they were
                named.

        Returns:
            The newest 64 causes.
        """
        if profile is None:
            return []
        ready = [key for key in self._waiting if profile.includes(key[0])]
        included = [self._waiting.pop(key) for key in ready]
        self._named.update(ready)
        if missed:
            # Impressions come first, because the newest causes stay and what the user did matters more.
            seen = [_seen(one) for one in profile.impressions if self._is_news(one)]
            found = [_found(entry) for entry in profile.history if self._is_news(entry)]
            included = [*seen, *found, *included]
            self._floor = dict(profile.watermarks)
            self._named.clear()
        return included[-MOST:]

    def _is_news(self, event: Entry | Impression) -> bool:
        at = event.position
        return self._floor.get(at[:2], -1) < at.offset and (at, event.event_id) not in self._named


def _announced(one: AppliedEvent) -> frame_pb2.Cause:
    return frame_pb2.Cause(
        event_id=one.event_id,
        item_id=one.item_id,
        action=one.action,
        event_time=timestamp(one.time_ms),
        record_time=timestamp(one.record_time_ms),
    )


def _seen(impression: Impression) -> frame_pb2.Cause:
    return frame_pb2.Cause(
        event_id=impression.event_id, action=IMPRESSION, event_time=timestamp(impression.time_ms)
    )


def _found(entry: Entry) -> frame_pb2.Cause:
    return frame_pb2.Cause(
        event_id=entry.event_id,
        item_id=entry.item_id,
        action=entry.action,
        event_time=timestamp(entry.time_ms),
    )
