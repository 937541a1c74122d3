"""Builds interactions from Python values."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

from recstream.v1.interaction_pb2 import Interaction

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
    """The arguments of `interaction()` besides user, item and action."""

    event_time: datetime | int | None
    event_id: str | None
    value: float | None
    undo_event_id: str
    slate_id: str
    position: int | None
    surface: str
    domain: str
    experiments: Mapping[str, str] | None


def interaction(
    user_id: str,
    item_id: str,
    action: str,
    *,
    event_time: datetime | int | None = None,
    event_id: str | None = None,
    value: float | None = None,
    undo_event_id: str = "",
    slate_id: str = "",
    position: int | None = None,
    surface: str = "",
    domain: str = "",
    experiments: Mapping[str, str] | None = None,
) -> Interaction:
    """Returns an event that is ready to be sent.

    Args:
        user_id: the user who acted.
        item_id: the item that was acted on; empty for an undo.
        action: one of the server's configured actions, `impression`, or `undo`.
        event_time: the time of the event: a datetime with a time zone, or Unix milliseconds; None: now.
        event_id: the event's id, by which a repeat is recognised; None: a new one.
        value: a rating, a share watched or a quantity, in the action's scale.
        undo_event_id: for `undo`, the id of the event to undo.
        slate_id: the list that the item was seen on.
        position: the item's position on that list; 0 is the top.
        surface: where it happened, such as `home`.
        domain: the catalogue that the item belongs to, such as `video`.
        experiments: experiment name to arm.

    Raises:
        ValueError: `event_time` is a datetime without a zone.

    Example:
        >>> interaction("ann", "tt0114709", "rate", value=4.5).value
        4.5
    """
    if isinstance(event_time, datetime):
        if event_time.tzinfo is None:
            raise ValueError(
                f"event_time {event_time} has no time zone; give datetime.now(UTC) or milliseconds"
            )
        event_time = round(event_time.timestamp() * 1000)
    return Interaction(
        event_id=new_event_id() if event_id is None else event_id,
        user_id=user_id,
        item_id=item_id,
        action=action,
        event_time_ms=time.time_ns() // 1_000_000 if event_time is None else event_time,
        value=value,
        undo_event_id=undo_event_id,
        slate_id=slate_id,
        position=position,
        surface=surface,
        domain=domain,
        experiments=experiments,
    )
