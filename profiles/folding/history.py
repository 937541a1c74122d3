"""Views of a history, computed when it is read: effective events, consumed items, the model's history."""

from collections.abc import Mapping, Sequence
from math import fsum
from operator import attrgetter

from profiles.actions import IMPRESSION, UNDO, Action, ProfileSettings
from profiles.profile import Entry, Profile

_DAY_MS = 86_400_000
_action = attrgetter("action")


def undone(history: Sequence[Entry]) -> frozenset[str]:
    """The ids of the events that the history's undo events undo. An undo that is itself undone has no effect."""
    if UNDO not in map(_action, history):  # This is the usual case, and it is checked for every event.
        return frozenset()
    undone_ids: set[str] = set()
    for entry in reversed(history):
        if entry.action == UNDO and entry.event_id not in undone_ids:
            undone_ids.add(entry.undo_event_id)
    return frozenset(undone_ids)


def effective(history: Sequence[Entry]) -> tuple[Entry, ...]:
    """The events without undo events and undone events, oldest first."""
    return _effective(history, undone(history))


def _effective(history: Sequence[Entry], gone: frozenset[str]) -> tuple[Entry, ...]:
    if not gone:
        return tuple(history)
    return tuple(e for e in history if e.action != UNDO and e.event_id not in gone)


def refold_start(events: int, keep: int, every: int) -> int:
    """The rank after which a model state begins.

    Args:
        events: Number of events so far.
        keep: N, the number of events that a state always covers.
        every: K, the number of events between refolds.
    """
    return max(0, (events - keep) // every * every)


def model_history(profile: Profile, settings: ProfileSettings) -> tuple[Entry, ...]:
    """The events that a model state covers: the effective ones of ranks (s, n], oldest first, at most N + K - 1.

    n is the number of all events, including undo events and undone events. s is `refold_start`.
    """
    covered = profile.events - refold_start(profile.events, settings.history, settings.refold_every)
    history = profile.history
    return _effective(history[max(0, len(history) - covered) :], undone(history))


def newest_by_item(history: Sequence[Entry]) -> dict[str, Entry]:
    """The newest effective event of each item, oldest first."""
    newest: dict[str, Entry] = {}
    for entry in effective(history):
        newest.pop(entry.item_id, None)
        newest[entry.item_id] = entry
    return newest


def consumes(action: str, actions: Mapping[str, Action]) -> bool:
    """Whether the action consumes its item, which is then not recommended again. Actions that are no longer configured
    consume their items."""
    if action == UNDO:
        return False
    return action not in actions or not actions[action].repeats


def consumed(profile: Profile, actions: Mapping[str, Action]) -> frozenset[str]:
    """The consumed items of the history. Older ones are in the tail."""
    return frozenset(e.item_id for e in effective(profile.history) if consumes(e.action, actions))


def positives(history: Sequence[Entry], actions: Mapping[str, Action]) -> tuple[Entry, ...]:
    """The positive events among the newest events of each item, oldest first."""
    return tuple(
        entry
        for entry in newest_by_item(history).values()
        if entry.action in actions and actions[entry.action].is_positive(entry.value)
    )


def recent(profile: Profile, now_ms: int, half_life_days: float) -> dict[str, float]:
    """How often each action occurred recently. Each effective event weighs 2^(-age / half-life).

    Impressions count under `impression`, each once. Undone events, undo events and events that have left the history do
    not count. An event in the future weighs 1.
    """
    weights: dict[str, list[float]] = {}
    events = [(entry.action, entry.time_ms) for entry in effective(profile.history)]
    events += [(IMPRESSION, impression.time_ms) for impression in profile.impressions]
    for name, time_ms in events:
        age = max(0, now_ms - time_ms) / _DAY_MS
        weights.setdefault(name, []).append(2.0 ** (-age / half_life_days))
    return {action: fsum(each) for action, each in sorted(weights.items())}
