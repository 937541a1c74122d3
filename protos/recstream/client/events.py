"""Builds interactions from Python values."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

from google.protobuf.timestamp_pb2 import Timestamp

from recstream.client.arguments import text, texts
from recstream.v1.interaction_pb2 import Interaction, SlateImpression, Undo

_lock = threading.Lock()
_last = 0


def new_event_id() -> str:
    """Returns a unique id for an event: a UUID of version 7, as text.

    The ids of a process ascend, even within a millisecond, so that events of the same time keep their order.
    """
    global _last
    with _lock:
        # 48 bits of milliseconds and 12 bits of a counter. A burst that exceeds the counter borrows from the next
        # millisecond.
        _last = max(_last + 1, time.time_ns() // 1_000_000 << 12)
        ticks = _last
    number = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64
    number |= 0b10 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class EventFacts(TypedDict, total=False):
    """What any event may say besides who did what.

    Attributes:
        event_time: when it happened: a datetime with a time zone, or Unix milliseconds; None: now.
        event_id: the event's id, by which a repeat is recognised; None: a new one.
        slate_id: the list that the item or the items were seen on.
        surface: where it happened, such as `home`.
        domain: the catalogue that the item belongs to, such as `video`.
        experiments: experiment name to arm.
        session_id: the visit that it belongs to.
        order_id: the order or booking that it belongs to.
        context: anything else about the moment, such as `device` or `country`.
    """

    event_time: datetime | int | None
    event_id: str | None
    slate_id: str
    surface: str
    domain: str
    experiments: Mapping[str, str] | None
    session_id: str
    order_id: str
    context: Mapping[str, str] | None


class ActionFacts(EventFacts, total=False):
    """What an action on an item may say besides.

    Attributes:
        value: a rating, a share watched or a quantity, in the action's scale.
        position: the item's position on the list; 0 is the top.
        quantity: how many or how much.
        price: the price of one unit; it needs a currency.
        currency: as in ISO 4217, such as `EUR`.
    """

    value: float | None
    position: int | None
    quantity: float | None
    price: float | None
    currency: str


def interaction(user_id: str, item_id: str, action: str, **facts: Unpack[ActionFacts]) -> Interaction:
    """Returns an action on an item, ready to be sent.

    Args:
        user_id: the user who acted.
        item_id: the item that was acted on.
        action: one of the server's configured actions.
        facts: see `ActionFacts` and `EventFacts`.

    Raises:
        ValueError: `event_time` is a datetime without a zone.

    Example:
        >>> interaction("ann", "tt0114709", "rate", value=4.5).value
        4.5
    """
    return _event(user_id, facts, item_id=text("item_id", item_id), action=action)


def undo(user_id: str, undone_event_id: str, **facts: Unpack[EventFacts]) -> Interaction:
    """Returns an event that undoes an earlier one, ready to be sent.

    Args:
        user_id: the user of both events.
        undone_event_id: the id of the event to undo.
        facts: see `EventFacts`.

    Raises:
        ValueError: `event_time` is a datetime without a zone.
    """
    return _event(user_id, facts, undo=Undo(event_id=undone_event_id))


def impression(
    user_id: str, item_ids: Iterable[str], *, first_position: int = 0, **facts: Unpack[EventFacts]
) -> Interaction:
    """Returns an impression of items that the user saw together, ready to be sent.

    Args:
        user_id: the user who saw them.
        item_ids: the items in the order in which they were shown, at most 500.
        first_position: the first item's position on the list; 0 is the top.
        facts: see `EventFacts`. Name the list in `slate_id`.

    Raises:
        ValueError: `event_time` is a datetime without a zone.

    Example:
        >>> list(impression("ann", ["a", "b"], slate_id="s-1").impression.item_ids)
        ['a', 'b']
    """
    shown = SlateImpression(item_ids=texts("item_ids", item_ids), first_position=first_position)
    return _event(user_id, facts, impression=shown)


def named(event: Interaction) -> Interaction:
    """Returns the event, or a copy with a new id if it has none. Without an id, a retry would count twice."""
    if event.event_id:
        return event
    copy = Interaction()
    copy.CopyFrom(event)
    copy.event_id = new_event_id()
    return copy


def _event(user_id: str, facts: EventFacts, **what: Any) -> Interaction:
    fields: dict[str, Any] = {**facts, **what}
    event_id, moment = fields.pop("event_id", None), fields.pop("event_time", None)
    return Interaction(
        user_id=text("user_id", user_id),
        event_id=new_event_id() if event_id is None else event_id,
        event_time=_timestamp(moment),
        **fields,
    )


def _timestamp(moment: datetime | int | None) -> Timestamp:
    found = Timestamp()
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"event_time {moment} has no time zone; give datetime.now(UTC) or milliseconds")
        found.FromDatetime(moment)
    else:
        found.FromMilliseconds(time.time_ns() // 1_000_000 if moment is None else moment)
    return found
