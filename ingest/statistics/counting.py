"""Decides which interactions count for their item, and holds the counts of one partition."""

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.popularity.stats import add, hour_of
from profiles.actions import ProfileSettings
from profiles.folding.events import Event
from recstream.storage.v1.catalog_pb2 import ItemStats


def is_counted(event: Event, settings: ProfileSettings) -> bool:
    """Whether the event is positive. An undo is not, nor is an event of an action that is no longer configured."""
    action = settings.actions.get(event.action)
    return action is not None and action.is_positive(event.value)


@dataclass(frozen=True, slots=True)
class Counted:
    """The changes that some events make.

    Attributes:
        stats: The new `ItemStats` by item, serialised.
        counted: How many events were counted.
        uncounted: How many were not counted, because there was no room for their items.
    """

    stats: dict[str, bytes]
    counted: int
    uncounted: int


class Counts:
    """The item statistics of one partition of interactions. They stay serialised, which takes a small part of the
    memory that messages would take."""

    def __init__(self, stats: dict[str, bytes]) -> None:
        self._stats = stats

    def __len__(self) -> int:
        return len(self._stats)

    def add(self, events: Iterable[Event], room: int) -> Counted:
        """Computes the counts with these events added. Nothing changes until `keep`.

        Args:
            events: Positive events.
            room: How many new items may be added. Events of further new items are not counted.

        Returns:
            The changes, for `keep`.
        """
        hours: dict[str, dict[int, int]] = {}
        counted = uncounted = 0
        new = 0
        for event in events:
            known = hours.get(event.item_id)
            if known is None:
                if event.item_id not in self._stats:
                    if new >= room:
                        uncounted += 1
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
        return Counted(changed, counted, uncounted)

    def keep(self, counted: Counted) -> None:
        """Applies changes. Call it once they are committed."""
        self._stats.update(counted.stats)
