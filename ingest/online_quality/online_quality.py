"""How users respond to their slates: click-through by position, and predicted against observed actions.

Events name a slate, and perhaps a position. The slate's record on the topic `slates` names its items, the version that
made it, and the probabilities that the version gave to each action. Both are read as they come and joined in memory.
Only events of the user who got the slate count for it.
The figures are for graphs and alerts. They are not exact, and not counted again after a restart. An event is counted as
`unknown_slate` if its slate was sent long ago, or was read by another process.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final

from inference.version_labels import version_label
from inference.version_routing import VersionRouting
from ingest import metrics
from ingest.online_quality.slate_memory import RememberedSlate, SlateMemory
from profiles.actions import Actions
from recstream.storage.v1.slate_pb2 import SlateRecord
from recstream.v1.interaction_pb2 import Interaction
from telemetry.labels import OTHER

_WAIT_SECONDS: Final = 10.0
_MAX_WAITING: Final = 10_000
_SEEN: Final = 0
_ANSWERED: Final = 1
_FIRST_ACTION: Final = 2


def position_label(position: int) -> str:
    """Returns the label of a position, which counts from 0. The label is one of `metrics.POSITIONS`."""
    if position < 10:
        return str(position)
    return "10-19" if position < 20 else "20-49" if position < 50 else "50+"


@lru_cache(maxsize=512)
def _positions(length: int) -> tuple[tuple[str, int], ...]:
    """Returns the labels of a slate's positions, each with the number of positions that have it."""
    return tuple(Counter(map(position_label, range(length))).items())


class OnlineQuality:
    """Joins events to slates, and counts.

    An event may come a moment before its slate, since slates are written after they are sent. It waits for ten seconds.
    Then its slate counts as unknown. An impression counts each of its items at the position that the slate has it at.

    Args:
        actions: The configured actions.
        surfaces: Returns the surfaces in force. Others are counted as `other`.
        routing: The live model versions.
        slates: Most slates in memory.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        actions: Actions,
        surfaces: Callable[[], Collection[str]],
        routing: Callable[[], VersionRouting],
        slates: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._actions = actions
        self._names = tuple(sorted(actions))
        self._action_index = {name: at for at, name in enumerate(self._names)}
        self._bits = len(self._names) + _FIRST_ACTION
        self._surfaces = surfaces
        self._routing = routing
        self._slates = SlateMemory(self._names, slates)
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, list[Interaction]]] = OrderedDict()
        self._waiting_count = 0

    def record_slate(self, record: SlateRecord) -> None:
        """Remembers a sent slate, and counts the events that came before it."""
        surface = self._label(record.surface)
        added = self._slates.add(record, surface)
        if added is None:
            return
        version = self._version(added)
        for label, count in _positions(len(added.items)):
            metrics.SENT.labels(surface, version, label).inc(count)
        metrics.SLATES_IN_MEMORY.set(len(self._slates))
        _, waiting = self._waiting.pop(record.slate.slate_id, (0.0, []))
        self._waiting_count -= _item_count(waiting)
        for event in waiting:
            self._count(event, added)

    def record_event(self, event: Interaction) -> None:
        """Counts an impression or an action. Other events are ignored."""
        if not _items(event) or (not event.HasField("impression") and event.action not in self._actions):
            return
        if not event.slate_id:
            metrics.QUALITY_EVENT["no_slate"].inc(len(_items(event)))
            return
        slate = self._slates.get(event.slate_id)
        if slate is not None:
            self._count(event, slate)
        elif self._waiting_count + len(_items(event)) <= _MAX_WAITING:
            entry = self._waiting.setdefault(event.slate_id, (self._clock() + _WAIT_SECONDS, []))
            entry[1].append(event)
            self._waiting_count += len(_items(event))
        else:
            metrics.QUALITY_EVENT["unknown_slate"].inc(len(_items(event)))

    def expire_waiting(self) -> None:
        """Counts events that have waited too long as events of an unknown slate. Call it regularly."""
        now = self._clock()
        while self._waiting:
            slate_id, (until, events) = next(iter(self._waiting.items()))
            if until > now:
                return
            del self._waiting[slate_id]
            self._waiting_count -= _item_count(events)
            metrics.QUALITY_EVENT["unknown_slate"].inc(_item_count(events))

    def _count(self, event: Interaction, slate: RememberedSlate) -> None:
        if not slate.is_of(event.user_id):
            metrics.QUALITY_EVENT["other_user"].inc(len(_items(event)))
            return
        for item_id in _items(event):
            position = slate.position(item_id)
            if position is None:
                metrics.QUALITY_EVENT["not_on_slate"].inc()
            elif event.HasField("impression"):
                self._seen(slate, position)
            else:
                self._acted(event, slate, position)

    def _seen(self, slate: RememberedSlate, position: int) -> None:
        first = position * self._bits
        if not slate.mark(first + _SEEN):
            metrics.QUALITY_EVENT["duplicate"].inc()
            return
        metrics.QUALITY_EVENT["counted"].inc()
        version = self._version(slate)
        metrics.IMPRESSIONS.labels(self._label(slate.surface), version, position_label(position)).inc()
        if slate.marked(first + _ANSWERED):  # the action came before the impression
            self._respond(slate, position)
        for at, name in enumerate(self._names):
            expected = _probability(slate, position, at, len(self._names))
            if expected is not None:
                metrics.EXPECTED.labels(name, version).inc(expected)
                if slate.marked(first + _FIRST_ACTION + at):
                    metrics.OBSERVED.labels(name, version).inc()

    def _acted(self, event: Interaction, slate: RememberedSlate, position: int) -> None:
        first, at = position * self._bits, self._action_index[event.action]
        fresh = slate.mark(first + _FIRST_ACTION + at)
        value = event.value if event.HasField("value") else None
        positive = self._actions[event.action].is_positive(value)
        answered = positive and slate.mark(first + _ANSWERED)
        if not slate.marked(first + _SEEN):
            metrics.QUALITY_EVENT["no_impression"].inc()
            return
        if not fresh and not answered:
            metrics.QUALITY_EVENT["duplicate"].inc()
            return
        metrics.QUALITY_EVENT["counted"].inc()
        if answered:
            self._respond(slate, position)
        if fresh and _probability(slate, position, at, len(self._names)) is not None:
            metrics.OBSERVED.labels(event.action, self._version(slate)).inc()

    def _version(self, slate: RememberedSlate) -> str:
        """The current label of the version. A slate may outlive its version, but the version's series must not."""
        return version_label(slate.version, self._routing())

    def _label(self, surface: str) -> str:
        """The current label of a surface. A slate may outlive its surface, but the surface's series must not."""
        return surface if surface in self._surfaces() else OTHER

    def _respond(self, slate: RememberedSlate, position: int) -> None:
        metrics.RESPONSES.labels(
            self._label(slate.surface), self._version(slate), position_label(position)
        ).inc()


def _items(event: Interaction) -> Sequence[str]:
    """The items that an impression or an action is about. None for other events."""
    if event.HasField("impression"):
        return event.impression.item_ids
    return (event.item_id,) if event.item_id else ()


def _item_count(events: Iterable[Interaction]) -> int:
    return sum(len(_items(event)) for event in events)


def _probability(slate: RememberedSlate, position: int, action: int, actions: int) -> float | None:
    if slate.probabilities is None:
        return None
    found = slate.probabilities[position * actions + action]
    # A counter must not decrease, whatever a model returns.
    return found if math.isfinite(found) and found >= 0 else None
