"""Validation of interactions."""

from math import isfinite

from profiles.actions import IMPRESSION, UNDO, ProfileSettings
from recstream.v1 import interaction_pb2 as contract

ID_BYTES = 256
EVENT_ID_BYTES = 128
_TEXT_BYTES = 256
_EXPERIMENTS = 32
_YEAR_MS = 31_557_600_000
_OLDEST_MS = 20 * _YEAR_MS

Problem = tuple[str, str]


def check(interaction: contract.Interaction, record_time_ms: int, settings: ProfileSettings) -> list[Problem]:
    """Validates an interaction.

    Args:
        interaction: The interaction as it was sent.
        record_time_ms: The record's Kafka timestamp, or the present time if there is no record yet. Unix milliseconds.
        settings: The actions and the limits.

    Returns:
        Problems, as (field, problem). Empty for a valid interaction. They name the limit and, shortened, the value.
    """
    problems: list[Problem] = []
    problems += check_user_id(interaction.user_id, settings)
    problems += _event_id("event_id", interaction.event_id, settings)
    problems += _action(interaction, settings)
    problems += _event_time(interaction.event_time_ms, record_time_ms, settings)
    problems += _value(interaction, settings)
    problems += _context(interaction)
    return problems


def check_user_id(user_id: str, settings: ProfileSettings) -> list[Problem]:
    """Validates a user id."""
    if user_id in settings.forbidden_user_ids:
        return [("user_id", f"{shown(user_id)} is a forbidden user id: it looks like a bug in the client")]
    return check_id("user_id", user_id)


def check_id(field: str, value: str) -> list[Problem]:
    """Validates an id of a user or an item, without the list of forbidden ids."""
    if not value.strip():
        return [(field, "is missing" if not value else "is blank")]
    if _too_long(value, ID_BYTES):
        return [(field, f"is longer than {ID_BYTES} bytes: {shown(value)}")]
    return []


def shown(text: str) -> str:
    """The text, quoted and shortened for a message."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _event_id(field: str, value: str, settings: ProfileSettings) -> list[Problem]:
    if _too_long(value, EVENT_ID_BYTES):
        return [(field, f"is longer than {EVENT_ID_BYTES} bytes: {shown(value)}")]
    if value and (not value.strip() or value in settings.forbidden_user_ids):
        # All events of such a client would be duplicates of the first one.
        return [(field, f"{shown(value)} does not identify an event; leave it empty if there is no id")]
    return []


def _action(interaction: contract.Interaction, settings: ProfileSettings) -> list[Problem]:
    action = interaction.action
    if action == UNDO:
        problems = check_id("item_id", interaction.item_id) if interaction.item_id else []
        if not interaction.undo_event_id:
            return [*problems, ("undo_event_id", "is missing: an undo must name the event that it undoes")]
        return problems + _event_id("undo_event_id", interaction.undo_event_id, settings)
    problems = check_id("item_id", interaction.item_id)
    if not action:
        problems.append(("action", "is missing"))
    elif action != IMPRESSION and action not in settings.actions:
        known = ", ".join(sorted([*settings.actions, IMPRESSION, UNDO]))
        problems.append(("action", f"{shown(action)} is not configured; known actions are {known}"))
    if interaction.undo_event_id:
        problems.append(("undo_event_id", f"is for the action {UNDO} only"))
    return problems


def _event_time(time_ms: int, record_time_ms: int, settings: ProfileSettings) -> list[Problem]:
    field = "event_time_ms"
    if not time_ms:
        return [(field, "is missing: Unix time in milliseconds")]
    oldest = record_time_ms - max(_OLDEST_MS, int(settings.time_to_live_days * 86_400_000))
    newest = record_time_ms + int(settings.max_skew_seconds * 1000)
    if oldest <= time_ms <= newest:
        return []
    for unit, per_ms in (("seconds", 1e-3), ("microseconds", 1e3), ("nanoseconds", 1e6)):
        if oldest <= time_ms / per_ms <= newest:
            return [(field, f"{time_ms} looks like {unit}; it must be milliseconds since 1970")]
    if time_ms > newest:
        ahead = (time_ms - record_time_ms) / 1000
        allowed = f"{settings.max_skew_seconds:g} s are allowed"
        return [(field, f"{time_ms} is {ahead:g} s after its record's time {record_time_ms}; {allowed}")]
    return [
        (field, f"{time_ms} is too long before its record's time {record_time_ms}; the earliest is {oldest}")
    ]


def _value(interaction: contract.Interaction, settings: ProfileSettings) -> list[Problem]:
    action = settings.actions.get(interaction.action)
    if not interaction.HasField("value"):
        if action is not None and action.positive_from is not None:
            # It would count in favour of the item, whatever its sender meant.
            return [
                (
                    "value",
                    f"is missing: {interaction.action!r} says by its value whether the user likes the item",
                )
            ]
        return []
    value = interaction.value
    if not isfinite(value):
        return [("value", f"{value} is not a finite number")]
    if action is not None and action.value_range is not None:
        low, high = action.value_range
        if not low <= value <= high:
            return [
                ("value", f"{value:g} is outside {low:g} to {high:g}, the range of {interaction.action!r}")
            ]
    return []


def _context(interaction: contract.Interaction) -> list[Problem]:
    problems = [
        (field, f"is longer than {_TEXT_BYTES} bytes: {shown(text)}")
        for field, text in (
            ("slate_id", interaction.slate_id),
            ("surface", interaction.surface),
            ("domain", interaction.domain),
        )
        if _too_long(text, _TEXT_BYTES)
    ]
    if interaction.position < 0:
        problems.append(("position", f"{interaction.position} is negative; 0 is the top"))
    if len(interaction.experiments) > _EXPERIMENTS:
        count = len(interaction.experiments)
        problems.append(("experiments", f"has {count} entries; the limit is {_EXPERIMENTS}"))
    elif any(_too_long(text, _TEXT_BYTES) for arm in interaction.experiments.items() for text in arm):
        problems.append(("experiments", f"has an experiment or an arm longer than {_TEXT_BYTES} bytes"))
    return problems


def _too_long(text: str, limit: int) -> bool:
    # A character has four bytes at most, so most texts need not be encoded to be measured.
    return 4 * len(text) > limit and len(text.encode()) > limit
