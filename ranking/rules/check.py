"""Checks rules, those of a request and those of the settings alike."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from recstream.v1 import rules_pb2
from recstream.v1.filter_pb2 import Filter
from telemetry.unknown_fields import unknown_fields

CATEGORY: Final = "category"
"""The field of a cap for the main category."""
ATTRIBUTE: Final = "attributes."
"""What precedes an attribute's name in a field."""

MAX_RULES: Final = 32
MAX_PINS: Final = 20
MAX_POSITIONS: Final = 500
MAX_STRENGTH: Final = 10.0
MAX_NAME_BYTES: Final = 128
MAX_ID_BYTES: Final = 256
MAX_PERIOD_SECONDS: Final = 90 * 86_400
_SECONDS: Final = range(-62_135_596_800, 253_402_300_800)
"""The seconds of the years 1 to 9999, which a Timestamp may have."""

Problem = tuple[str, str]
"""A field's path within the rules, or an empty one for the rules themselves; and what is wrong with it."""


def problems(rules: rules_pb2.ListRules, positions: int = MAX_POSITIONS) -> Iterator[Problem]:
    """Yields the problems of the rules, except those within filters.

    Args:
        rules: The rules.
        positions: Length of the list, which pins must be within.
    """
    for path, number in unknown_fields(rules, leaving=(Filter.DESCRIPTOR,)):
        # A rule of a later release: without it, the list would be another than the one that was asked for.
        yield path, f"has field {number}, which this server does not know"
    for kind, most, some in (
        ("boosts", MAX_RULES, rules.boosts),
        ("pins", MAX_PINS, rules.pins),
        ("promotions", MAX_RULES, rules.promotions),
        ("caps", MAX_RULES, rules.caps),
    ):
        if len(some) > most:
            yield kind, f"has {len(some)} entries, the limit is {most}"
            return
    for at, boost in enumerate(rules.boosts):
        yield from _under(f"boosts[{at}]", _boost(boost))
    for at, pin in enumerate(rules.pins):
        yield from _under(f"pins[{at}]", _pin(pin, rules.pins[:at], positions))
    for at, promotion in enumerate(rules.promotions):
        yield from _under(f"promotions[{at}]", _promotion(promotion))
    for at, cap in enumerate(rules.caps):
        yield from _under(f"caps[{at}]", _cap(cap))
    if not 0 <= rules.diversity <= 1:
        yield "diversity", f"is {rules.diversity:g}; it must be 0 to 1"
    if rules.HasField("rotation"):
        yield from _under("rotation", _rotation(rules.rotation))
    if rules.owner_field:
        yield from _owner(rules.owner_field)


def _under(path: str, found: Iterator[Problem]) -> Iterator[Problem]:
    return ((f"{path}.{field}" if field else path, problem) for field, problem in found)


def _boost(boost: rules_pb2.Boost) -> Iterator[Problem]:
    yield from _text("name", boost.name, MAX_NAME_BYTES)
    if not boost.HasField("filter"):
        yield "filter", "is required"
    if not -MAX_STRENGTH <= boost.strength <= MAX_STRENGTH:
        yield "strength", f"is {boost.strength:g}; it must be {-MAX_STRENGTH:g} to {MAX_STRENGTH:g}"
    yield from _window(boost)


def _pin(pin: rules_pb2.Pin, earlier: Sequence[rules_pb2.Pin], positions: int) -> Iterator[Problem]:
    yield from _text("item_id", pin.item_id, MAX_ID_BYTES)
    if not 0 <= pin.position < positions:
        yield "position", f"is {pin.position}; the list has the positions 0 to {positions - 1}"
    yield from _window(pin)
    for at, other in enumerate(earlier):
        if not _overlap(pin, other):
            continue
        if other.position == pin.position:
            yield "position", f"is that of pins[{at}] too; a position takes one item"
        if other.item_id == pin.item_id:
            yield "item_id", f"is that of pins[{at}] too; an item takes one position"


def _promotion(promotion: rules_pb2.Promotion) -> Iterator[Problem]:
    yield from _text("name", promotion.name, MAX_NAME_BYTES)
    if not promotion.HasField("filter"):
        yield "filter", "is required"
    if not 0 <= promotion.share <= 1:
        yield "share", f"is {promotion.share:g}; it must be 0 to 1"
    yield from _window(promotion)


def _cap(cap: rules_pb2.Cap) -> Iterator[Problem]:
    yield from _text("field", cap.field, MAX_ID_BYTES)
    if cap.field.strip() and cap.field != CATEGORY and not _is_attribute(cap.field):
        yield "field", f"is {cap.field!r}; it must be {CATEGORY!r} or '{ATTRIBUTE}NAME'"
    limit = cap.WhichOneof("limit")
    if limit is None:
        yield "", "has neither most nor share"
    elif limit == "most" and not 1 <= cap.most <= MAX_POSITIONS:
        yield "most", f"is {cap.most}; it must be 1 to {MAX_POSITIONS}"
    elif limit == "share" and not 0 < cap.share <= 1:
        yield "share", f"is {cap.share:g}; it must be above 0 and at most 1"
    yield from _window(cap)


def _rotation(rotation: rules_pb2.Rotation) -> Iterator[Problem]:
    if not 0 <= rotation.strength <= MAX_STRENGTH:
        yield "strength", f"is {rotation.strength:g}; it must be 0 to {MAX_STRENGTH:g}"
    seconds = rotation.period.seconds + rotation.period.nanos / 1e9
    if rotation.HasField("period") and not 0 < seconds <= MAX_PERIOD_SECONDS:
        yield "period", f"is {seconds:g} s; it must be above 0 and at most {MAX_PERIOD_SECONDS} s"


def _owner(field: str) -> Iterator[Problem]:
    yield from _text("owner_field", field, MAX_ID_BYTES)
    if field.strip() and not _is_attribute(field):
        yield "owner_field", f"is {field!r}; it must be '{ATTRIBUTE}NAME'"


def _is_attribute(field: str) -> bool:
    return field.startswith(ATTRIBUTE) and field != ATTRIBUTE


def _text(field: str, value: str, limit: int) -> Iterator[Problem]:
    if not value.strip():
        yield field, "is required and must not be blank"
    elif len(value.encode()) > limit:
        yield field, f"is {len(value.encode())} bytes long, the limit is {limit}"


def _window(rule: rules_pb2.Boost | rules_pb2.Pin | rules_pb2.Promotion | rules_pb2.Cap) -> Iterator[Problem]:
    """The problems of a rule's window."""
    window = rule.window
    for name, moment in (("start_time", window.start_time), ("end_time", window.end_time)):
        if moment.seconds not in _SECONDS or not 0 <= moment.nanos < 1_000_000_000:
            yield f"window.{name}", "is not a time of the years 1 to 9999"
            return
    start, end = _ends(window)
    if start >= end:
        yield "window", "is empty: end_time must be after start_time"


def _overlap(one: rules_pb2.Pin, other: rules_pb2.Pin) -> bool:
    (start, end), (other_start, other_end) = _ends(one.window), _ends(other.window)
    return start < other_end and other_start < end


def _ends(window: rules_pb2.TimeWindow) -> tuple[float, float]:
    """The ends of the window in Unix nanoseconds. An absent end is infinite."""
    return (
        _nanoseconds(window.start_time) if window.HasField("start_time") else -math.inf,
        _nanoseconds(window.end_time) if window.HasField("end_time") else math.inf,
    )


def _nanoseconds(moment: Timestamp) -> int:
    return moment.seconds * 1_000_000_000 + moment.nanos
