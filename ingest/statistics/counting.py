"""What of an interaction counts for its item, and the counts of one partition."""

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.popularity.stats import add, hour_of
from profiles.actions import IMPRESSION, UNDO, ProfileSettings
from profiles.folding.events import Event
from recstream.storage.v1.catalog_pb2 import ItemStats


def is_counted(event: Event, settings: ProfileSettings) -> bool:
    """Whether the event is a positive one. What is not known to be an action any more is not."""
    if event.action in (IMPRESSION, UNDO):
        return False
    action = settings.actions.get(event.action)
    return action is not None and action.speaks_for(event.value)


@dataclass(frozen=True, slots=True)
class Counted:
    """What some events change: the statistics by item, as they are written, and how many events were counted and
    passed over."""

    stats: dict[str, bytes]
    counted: int
    passed: int


class Counts:
    """The statistics that one partition of interactions gives its items: `ItemStats` as they are written, in a
    small part of the room that messages take."""

    def __init__(self, stats: dict[str, bytes]) -> None:
        self._stats = stats

    def __len__(self) -> int:
        return len(self._stats)

    def after(self, events: Iterable[Event], room: int) -> Counted:
        """What these positive events make of it. Nothing is changed until `keep`.

        `room` is how many items may be added: those past it that were not there before are passed over.
        """
        hours: dict[str, dict[int, int]] = {}
        counted = passed = 0
        new = 0
        for event in events:
            known = hours.get(event.item_id)
            if known is None:
                if event.item_id not in self._stats:
                    if new >= room:
                        passed += 1
                        continue
                    new += 1
                known = hours[event.item_id] = {}
            hour = hour_of(event.time_ms)
            known[hour] = known.get(hour, 0) + 1
            counted += 1
        changed = {
            item_id: add(ItemStats.FromString(self._stats.get(item_id, b"")), by_hour).SerializeToString(
                deterministic=True
            )
            for item_id, by_hour in hours.items()
        }
        return Counted(changed, counted, passed)

    def keep(self, counted: Counted) -> None:
        """The change is committed."""
        self._stats.update(counted.stats)
