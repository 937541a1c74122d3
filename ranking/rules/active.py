"""The rules that hold for one list: those of its surface and of its request, at its moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from recstream.v1 import rules_pb2

_DAY_MS: Final = 86_400_000

Windowed = TypeVar("Windowed", rules_pb2.Boost, rules_pb2.Pin, rules_pb2.Promotion, rules_pb2.Cap)


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """The rules that hold for one list.

    Attributes:
        boosts, caps: In no particular order.
        pins: No two have the same item or position.
        promotions: Those of higher priority first.
        diversity: 0 to 1.
        rotation: Standard deviations that an item loses when it was shown once.
        rotation_ms: For how many milliseconds an impression counts.
        owner_fields: The attributes that name the owners of items.
        until_ms: The next moment at which a rule begins or ends to hold, Unix milliseconds. None: there is none.
    """

    boosts: tuple[rules_pb2.Boost, ...] = ()
    pins: tuple[rules_pb2.Pin, ...] = ()
    promotions: tuple[rules_pb2.Promotion, ...] = ()
    caps: tuple[rules_pb2.Cap, ...] = ()
    diversity: float = 0.0
    rotation: float = 0.0
    rotation_ms: int = _DAY_MS
    owner_fields: tuple[str, ...] = ()
    until_ms: int | None = None


NO_RULES: Final = ActiveRules()


def active(
    surface: rules_pb2.ListRules | None, requested: rules_pb2.ListRules | None, now_ms: int
) -> ActiveRules:
    """The rules of a list.

    The rules of surface and request add up. The request's diversity, rotation and pins replace the surface's: a pin
    replaces the one of the same item and the one of the same position.

    Args:
        surface: The rules of the surface. None: it has none.
        requested: The rules of the request. None: it has none.
        now_ms: The moment of the list in Unix milliseconds.
    """
    # What is more specific comes first, so that it wins.
    some = [each for each in (requested, surface) if each is not None]
    if not some:
        return NO_RULES
    edges: list[int] = []
    rotation = next((each.rotation for each in some if each.HasField("rotation")), rules_pb2.Rotation())
    period_ms = rotation.period.ToMilliseconds() if rotation.HasField("period") else _DAY_MS
    return ActiveRules(
        boosts=_held([rule for each in some for rule in each.boosts], now_ms, edges),
        pins=_distinct(_held([rule for each in some for rule in each.pins], now_ms, edges)),
        promotions=_held([rule for each in some for rule in each.promotions], now_ms, edges),
        caps=_held([rule for each in some for rule in each.caps], now_ms, edges),
        diversity=next((each.diversity for each in some if each.HasField("diversity")), 0.0),
        rotation=rotation.strength,
        rotation_ms=period_ms,
        owner_fields=tuple(each.owner_field for each in some if each.owner_field),
        until_ms=min((edge for edge in edges if edge > now_ms), default=None),
    )


def _held(rules: Sequence[Windowed], now_ms: int, edges: list[int]) -> tuple[Windowed, ...]:
    """The rules whose windows hold the moment. Adds the ends of all windows to `edges`."""
    held = []
    for rule in rules:
        window = rule.window
        start = _milliseconds(window.start_time) if window.HasField("start_time") else None
        end = _milliseconds(window.end_time) if window.HasField("end_time") else None
        edges += [edge for edge in (start, end) if edge is not None]
        if (start is None or start <= now_ms) and (end is None or now_ms < end):
            held.append(rule)
    return tuple(held)


def _distinct(pins: Iterable[rules_pb2.Pin]) -> tuple[rules_pb2.Pin, ...]:
    """The pins without those whose item or position an earlier one has."""
    items: set[str] = set()
    positions: set[int] = set()
    kept = []
    for pin in pins:
        if pin.item_id not in items and pin.position not in positions:
            kept.append(pin)
            items.add(pin.item_id)
            positions.add(pin.position)
    return tuple(kept)


def _milliseconds(moment: Timestamp) -> int:
    """The first millisecond at or after the moment. A list's moment is a whole millisecond."""
    return moment.seconds * 1000 + -(-moment.nanos // 1_000_000)
