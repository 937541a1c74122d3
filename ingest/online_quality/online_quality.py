"""What users make of the lists that they get: click-through by place, and the ranker's probabilities beside what
happened.

Events name a list, and perhaps a place; the list's record, on the topic `slates`, says what stood where, which
version made it and how likely that version held each action to be. Both are read as they come and joined in memory:
figures for graphs and alerts, neither exact nor repeated after a restart. What was done on a list long ago, or on one
that another process has read, is counted as such and left out.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final

from inference.version_labels import OTHER, version_label
from inference.version_routing import Pointer
from ingest import metrics
from ingest.online_quality.slate_memory import RememberedSlate, SlateMemory
from profiles.actions import IMPRESSION, Actions
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1.interaction_pb2 import Interaction

_PATIENCE_SECONDS: Final = 10.0
_WAITING_MOST: Final = 10_000
_SEEN: Final = 0
_ANSWERED: Final = 1
_FIRST_ACTION: Final = 2


def position_label(place: int) -> str:
    """The place on a list, from 0, as one of `metrics.POSITIONS`."""
    if place < 10:
        return str(place)
    return "10-19" if place < 20 else "20-49" if place < 50 else "50+"


@lru_cache(maxsize=512)
def _positions(length: int) -> tuple[tuple[str, int], ...]:
    """The labels of a list's places, each with how many places have it."""
    return tuple(Counter(map(position_label, range(length))).items())


class OnlineQuality:
    """Joins events to lists, and counts. `clock` is monotonic, in seconds.

    An event may overtake its list by a moment, since lists are written after they are sent: it waits for ten seconds,
    and then its list counts as unknown.
    """

    def __init__(
        self,
        actions: Actions,
        surfaces: Collection[str],
        pointer: Callable[[], Pointer],
        slates: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._actions = actions
        self._names = tuple(sorted(actions))
        self._places = {name: at for at, name in enumerate(self._names)}
        self._bits = len(self._names) + _FIRST_ACTION
        self._surfaces = frozenset(surfaces)
        self._pointer = pointer
        self._lists = SlateMemory(self._names, slates)
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, list[Interaction]]] = OrderedDict()
        self._waiting_count = 0

    def record_slate(self, record: SlateRecord) -> None:
        """A list was sent."""
        surface = record.surface if record.surface in self._surfaces else OTHER
        added = self._lists.add(record, surface)
        if added is None:
            return
        version = self._version(added)
        for label, places in _positions(len(added.items)):
            metrics.SENT.labels(surface, version, label).inc(places)
        metrics.SLATES_IN_MEMORY.set(len(self._lists))
        _, waiting = self._waiting.pop(record.slate.slate_id, (0.0, []))
        self._waiting_count -= len(waiting)
        for event in waiting:
            self._place(event, added)

    def record_event(self, event: Interaction) -> None:
        """A user did something, or saw something. What is neither an impression nor a known action is passed over."""
        if event.action != IMPRESSION and event.action not in self._actions:
            return
        if not event.slate_id:
            metrics.QUALITY_EVENT["no_slate"].inc()
            return
        shown = self._lists.get(event.slate_id)
        if shown is not None:
            self._place(event, shown)
        elif self._waiting_count < _WAITING_MOST:
            entry = self._waiting.setdefault(event.slate_id, (self._clock() + _PATIENCE_SECONDS, []))
            entry[1].append(event)
            self._waiting_count += 1
        else:
            metrics.QUALITY_EVENT["unknown_slate"].inc()

    def expire_waiting(self) -> None:
        """What has waited long enough has no list that is known. Call it now and then."""
        now = self._clock()
        while self._waiting:
            slate_id, (until, events) = next(iter(self._waiting.items()))
            if until > now:
                return
            del self._waiting[slate_id]
            self._waiting_count -= len(events)
            metrics.QUALITY_EVENT["unknown_slate"].inc(len(events))

    def _place(self, event: Interaction, shown: RememberedSlate) -> None:
        place = shown.place(event.item_id)
        if place is None:
            metrics.QUALITY_EVENT["not_on_slate"].inc()
        elif event.action == IMPRESSION:
            self._seen(shown, place)
        else:
            self._acted(event, shown, place)

    def _seen(self, shown: RememberedSlate, place: int) -> None:
        first = place * self._bits
        if not shown.mark(first + _SEEN):
            metrics.QUALITY_EVENT["repeated"].inc()
            return
        metrics.QUALITY_EVENT["counted"].inc()
        version = self._version(shown)
        metrics.IMPRESSIONS.labels(shown.surface, version, position_label(place)).inc()
        if shown.marked(first + _ANSWERED):  # the action came before the impression
            self._respond(shown, place)
        for at, name in enumerate(self._names):
            expected = _probability(shown, place, at, len(self._names))
            if expected is not None:
                metrics.EXPECTED.labels(name, version).inc(expected)
                if shown.marked(first + _FIRST_ACTION + at):
                    metrics.OBSERVED.labels(name, version).inc()

    def _acted(self, event: Interaction, shown: RememberedSlate, place: int) -> None:
        first, at = place * self._bits, self._places[event.action]
        fresh = shown.mark(first + _FIRST_ACTION + at)
        value = event.value if event.HasField("value") else None
        positive = self._actions[event.action].speaks_for(value)
        answered = positive and shown.mark(first + _ANSWERED)
        if not shown.marked(first + _SEEN):
            metrics.QUALITY_EVENT["unseen"].inc()
            return
        if not fresh and not answered:
            metrics.QUALITY_EVENT["repeated"].inc()
            return
        metrics.QUALITY_EVENT["counted"].inc()
        if answered:
            self._respond(shown, place)
        if fresh and _probability(shown, place, at, len(self._names)) is not None:
            metrics.OBSERVED.labels(event.action, self._version(shown)).inc()

    def _version(self, shown: RememberedSlate) -> str:
        """As of now: a list may outlive its version, and the version's series must not."""
        return version_label(shown.version, self._pointer())

    def _respond(self, shown: RememberedSlate, place: int) -> None:
        metrics.RESPONSES.labels(shown.surface, self._version(shown), position_label(place)).inc()


def _probability(shown: RememberedSlate, place: int, action: int, actions: int) -> float | None:
    if shown.probabilities is None:
        return None
    found = shown.probabilities[place * actions + action]
    # A counter takes no step back, whatever a model says.
    return found if math.isfinite(found) and found >= 0 else None
