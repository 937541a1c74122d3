"""What a history says, worked out whenever it is read: what holds, what was taken, what the model sees."""

from collections.abc import Mapping, Sequence
from math import fsum
from operator import attrgetter

from profiles.actions import IMPRESSION, UNDO, Action, ProfileSettings
from profiles.profile import Entry, Profile

_DAY_MS = 86_400_000
_action = attrgetter("action")


def undone(history: Sequence[Entry]) -> frozenset[str]:
    """The event ids that the history's undo events take back.

    Newest first: an undo that a later one takes back takes back nothing.
    """
    if UNDO not in map(_action, history):  # the ordinary case, and on the way of every event
        return frozenset()
    undone_ids: set[str] = set()
    for entry in reversed(history):
        if entry.action == UNDO and entry.event_id not in undone_ids:
            undone_ids.add(entry.undo_event_id)
    return frozenset(undone_ids)


def effective(history: Sequence[Entry]) -> tuple[Entry, ...]:
    """The events that hold: neither an undo nor undone. Oldest first."""
    return _holding(history, undone(history))


def _holding(history: Sequence[Entry], gone: frozenset[str]) -> tuple[Entry, ...]:
    if not gone:
        return tuple(history)
    return tuple(e for e in history if e.action != UNDO and e.event_id not in gone)


def refold_start(events: int, keep: int, every: int) -> int:
    """The rank after which a model state begins, with `events` so far: N = `keep`, K = `every`."""
    return max(0, (events - keep) // every * every)


def model_history(profile: Profile, settings: ProfileSettings) -> tuple[Entry, ...]:
    """The events that a model state is the fold of: those of ranks (s, n] that hold, oldest first.

    n counts all events ever, undo events and undone ones included; s is `refold_start`. At most N + K - 1.
    """
    covered = profile.events - refold_start(profile.events, settings.history, settings.refold_every)
    history = profile.history
    return _holding(history[max(0, len(history) - covered) :], undone(history))


def newest_by_item(history: Sequence[Entry]) -> dict[str, Entry]:
    """Of each item the newest event that holds, in the order of those events."""
    words: dict[str, Entry] = {}
    for entry in effective(history):
        words.pop(entry.item_id, None)
        words[entry.item_id] = entry
    return words


def consumes(action: str, actions: Mapping[str, Action]) -> bool:
    """Whether an item so acted on stays off the user's lists. An action no longer configured does so too."""
    if action in (IMPRESSION, UNDO):
        return False
    return action not in actions or not actions[action].repeats


def consumed(profile: Profile, actions: Mapping[str, Action]) -> frozenset[str]:
    """The items of the history that are not to be recommended again. The tail holds the older ones."""
    return frozenset(e.item_id for e in effective(profile.history) if consumes(e.action, actions))


def positives(history: Sequence[Entry], actions: Mapping[str, Action]) -> tuple[Entry, ...]:
    """The events that speak for their item and are the last word on it, oldest first."""
    return tuple(
        entry
        for entry in newest_by_item(history).values()
        if entry.action in actions and actions[entry.action].speaks_for(entry.value)
    )


def recent(profile: Profile, now_ms: int, half_life_days: float) -> dict[str, float]:
    """How often each action occurred lately: every event that holds weighs 2^(-age / half-life).

    Impressions count under `impression`. What was undone, and the undo itself, weigh nothing; nor does
    what is older than the history. An event of the future weighs 1.
    """
    weights: dict[str, list[float]] = {}
    for entry in (*effective(profile.history), *profile.impressions):
        age = max(0, now_ms - entry.time_ms) / _DAY_MS
        weights.setdefault(entry.action, []).append(2.0 ** (-age / half_life_days))
    return {action: fsum(each) for action, each in sorted(weights.items())}
