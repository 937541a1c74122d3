"""Compares a user's profile in the store with the fold of the log."""

from dataclasses import replace

from ingest.verify.log_fold import LogFold
from profiles.folding.tail import Tail
from profiles.profile import Entry, Impression, Profile
from profiles.store.codec import encode

_FIELDS = (
    "events",
    "history",
    "impressions",
    "totals",
    "watermarks",
    "erased_before",
    "expires_at_ms",
    "has_tail",
)
_MAX_CHARACTERS = 300


def differences(stored: Profile, stored_tail: Tail | None, log: LogFold) -> list[str]:
    """Lists the fields in which a stored profile differs from the fold of the log.

    If retention has deleted the beginning of the log, the comparison is partial. It covers the events of history and
    impressions that the log still has. Counts must not be lower than the log's. The tail is not compared.

    Args:
        stored: The profile from the store.
        stored_tail: Its tail.
        log: The fold of the log.

    Returns:
        A line for each field that differs. Empty: both are equal to the byte, except for model states.
    """
    folded = log.profiles.get(stored.user_id)
    if folded is None:
        return ["the log has no record of this user"] if log.whole else []
    if not log.whole:
        return _partial(stored, folded, log)
    if encode(replace(stored, states=())) == encode(replace(folded, states=())):
        folded_tail = log.tails.get(stored.user_id, Tail())
        tail = Tail() if stored_tail is None else stored_tail
        if stored.has_tail and tail != folded_tail:
            return [f"tail: stored {len(tail)} items, the log has {len(folded_tail)}, or other items"]
        return []
    return [
        _line(name, getattr(stored, name), getattr(folded, name))
        for name in _FIELDS
        if getattr(stored, name) != getattr(folded, name)
    ]


def _partial(stored: Profile, folded: Profile, log: LogFold) -> list[str]:
    def there(entry: Entry | Impression) -> bool:
        position = entry.position
        return position.topic_id == log.topic_id and position.offset >= log.first.get(position.partition, 0)

    found = []
    for name, kept, known in (
        ("history", stored.history, folded.history),
        ("impressions", stored.impressions, folded.impressions),
    ):
        stored_entries = [entry for entry in kept if there(entry)]
        # The deleted events may have displaced some that a fold of the rest keeps.
        log_entries = [entry for entry in known if not kept or entry.order >= kept[0].order]
        if stored_entries != log_entries:
            found.append(_line(name, stored_entries, log_entries))
    if stored.events < folded.events:
        found.append(_line("events", stored.events, folded.events))
    if low := {a: n for a, n in folded.totals.items() if stored.totals.get(a, 0) < n}:
        found.append(_line("totals", {a: stored.totals.get(a, 0) for a in low}, low))
    if any(stored.watermarks.get(partition, -1) < offset for partition, offset in folded.watermarks.items()):
        found.append(_line("watermarks", stored.watermarks, folded.watermarks))
    return found


def _line(name: str, stored: object, folded: object) -> str:
    return f"{name}: stored {_short(stored)}, the log gives {_short(folded)}"


def _short(value: object) -> str:
    if isinstance(value, (tuple, list)):
        ids = [entry.event_id for entry in value if isinstance(entry, (Entry, Impression))]
        text = f"{len(ids)} events, last {ids[-3:]}"
    else:
        text = repr(value)
    return text if len(text) <= _MAX_CHARACTERS else text[: _MAX_CHARACTERS - 1] + "…"
