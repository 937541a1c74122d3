"""Validation of interactions."""

from collections.abc import Mapping
from math import isfinite
from typing import Final

from profiles.actions import IMPRESSION, UNDO, ProfileSettings
from profiles.times import milliseconds, timestamp
from recstream.v1 import interaction_pb2 as contract

ID_BYTES: Final = 256
EVENT_ID_BYTES: Final = 128
IMPRESSION_ITEMS: Final = 500
_TEXT_BYTES: Final = 256
_LABELS: Final = 32
_LAST_POSITION: Final = 1_000_000
_MOST: Final = 1e12
_YEAR_MS: Final = 31_557_600_000
_OLDEST_MS: Final = 20 * _YEAR_MS
# Problems of one impression that are reported.
_PROBLEMS: Final = 5

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
    problems += _what(interaction, settings)
    problems += _event_time(interaction, record_time_ms, settings)
    problems += _context(interaction)
    problems += _purchase(interaction)
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


def _what(interaction: contract.Interaction, settings: ProfileSettings) -> list[Problem]:
    kind = interaction.WhichOneof("kind")
    if kind is None:
        return [
            *check_id("item_id", interaction.item_id),
            *_action(interaction.action, settings),
            *_value(interaction, settings),
            *_position(interaction),
        ]
    problems = [
        (field, f"is for an action on an item; leave it empty beside `{kind}`")
        for field, given in (
            ("item_id", interaction.item_id),
            ("action", interaction.action),
            ("value", interaction.HasField("value")),
        )
        if given
    ]
    if kind == "undo":
        return problems + _position(interaction) + _undo(interaction.undo, settings)
    if interaction.HasField("position"):
        problems.append(("position", "is for an action on an item; use impression.first_position"))
    return problems + _impression(interaction.impression)


def _action(action: str, settings: ProfileSettings) -> list[Problem]:
    if action in settings.actions:
        return []
    if not action:
        return [("action", "is missing; an event without an action has `undo` or `impression`")]
    if action in (UNDO, IMPRESSION):
        return [("action", f"{action} is no action; set the field `{action}` instead")]
    known = ", ".join(sorted(settings.actions))
    return [("action", f"{shown(action)} is not configured; known actions are {known}")]


def _undo(undo: contract.Undo, settings: ProfileSettings) -> list[Problem]:
    if not undo.event_id:
        return [("undo.event_id", "is missing: an undo must name the event that it undoes")]
    return _event_id("undo.event_id", undo.event_id, settings)


def _impression(impression: contract.SlateImpression) -> list[Problem]:
    count = len(impression.item_ids)
    if not 1 <= count <= IMPRESSION_ITEMS:
        remedy = "name the items that the user saw" if not count else "send several impressions"
        return [("impression.item_ids", f"has {count} items; 1 to {IMPRESSION_ITEMS} are allowed: {remedy}")]
    problems: list[Problem] = []
    seen: set[str] = set()
    for at, item_id in enumerate(impression.item_ids):
        field = f"impression.item_ids[{at}]"
        problems += check_id(field, item_id)
        if item_id in seen:
            problems.append((field, f"names {shown(item_id)} again; name each item once"))
        seen.add(item_id)
    if not 0 <= impression.first_position <= _LAST_POSITION - count:
        problems.append(
            (
                "impression.first_position",
                f"{impression.first_position} is outside 0 to {_LAST_POSITION - count}; 0 is the top",
            )
        )
    return problems[:_PROBLEMS]


def _position(interaction: contract.Interaction) -> list[Problem]:
    if not 0 <= interaction.position <= _LAST_POSITION:
        return [("position", f"{interaction.position} is outside 0 to {_LAST_POSITION}; 0 is the top")]
    return []


def _event_time(
    interaction: contract.Interaction, record_time_ms: int, settings: ProfileSettings
) -> list[Problem]:
    field = "event_time"
    if not interaction.HasField("event_time"):
        return []
    try:
        time_ms = milliseconds(interaction.event_time)
    except ValueError as problem:
        return [(field, str(problem))]
    oldest = record_time_ms - max(_OLDEST_MS, int(settings.time_to_live_days * 86_400_000))
    if time_ms >= oldest:
        return []
    text = interaction.event_time.ToJsonString()
    if oldest <= time_ms * 1000 <= record_time_ms + int(settings.max_skew_seconds * 1000):
        return [(field, f"is {text}: {time_ms} looks like seconds; a number must be milliseconds since 1970")]
    earliest = timestamp(oldest).ToJsonString()
    return [(field, f"{text} is too long before its record's time; the earliest is {earliest}")]


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
            ("session_id", interaction.session_id),
            ("order_id", interaction.order_id),
        )
        if _too_long(text, _TEXT_BYTES)
    ]
    problems += _labels("experiments", interaction.experiments)
    problems += _labels("context", interaction.context)
    return problems


def _labels(field: str, labels: Mapping[str, str]) -> list[Problem]:
    if len(labels) > _LABELS:
        return [(field, f"has {len(labels)} entries; the limit is {_LABELS}")]
    for name, text in labels.items():
        if not name.strip():
            return [(field, f"has {shown(text)} under a blank name; give it a name")]
        if _too_long(name, _TEXT_BYTES) or _too_long(text, _TEXT_BYTES):
            return [(field, f"has an entry longer than {_TEXT_BYTES} bytes: {shown(name)}, {shown(text)}")]
    return []


def _purchase(interaction: contract.Interaction) -> list[Problem]:
    problems: list[Problem] = []
    if interaction.HasField("quantity") and not 0 < interaction.quantity <= _MOST:
        problems.append(("quantity", f"{interaction.quantity:g} is not above 0 and at most {_MOST:g}"))
    if interaction.HasField("price") and not 0 <= interaction.price <= _MOST:
        problems.append(("price", f"{interaction.price:g} is outside 0 to {_MOST:g}"))
    currency = interaction.currency
    if currency and not (
        len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()
    ):
        problems.append(
            ("currency", f"{shown(currency)} is not three capital letters as in ISO 4217, such as EUR")
        )
    if interaction.HasField("price") != bool(currency):
        missing, there = ("price", "currency") if currency else ("currency", "price")
        problems.append((missing, f"is missing: the event has a {there}"))
    return problems


def _too_long(text: str, limit: int) -> bool:
    # A character has four bytes at most, so most texts need not be encoded to be measured.
    return 4 * len(text) > limit and len(text.encode()) > limit
