"""What a running product is told of a split's events, and when: no more and no less than the evaluation knows."""

from dataclasses import dataclass

import numpy as np

from evaluation.protocols.split import Split
from evaluation.protocols.visible import told
from models.data.events import Events, Ints
from recstream.v1 import interaction_pb2


@dataclass(frozen=True, slots=True)
class Told:
    """rows [n]: of the split's `known`, in the order in which they are told. before [asks]: how many of them are told
    before each ask, ascending."""

    rows: Ints
    before: Ints


def turns(split: Split) -> Told:
    """What may be counted, at its moment; where moments mean nothing all of it before the first ask, as popularity
    counts it then."""
    known, asks = split.known, split.asks
    limits = asks.visible
    if known.timed:
        limits = np.minimum(limits, np.searchsorted(known.time_ms, asks.time_ms, side="right"))
    rows = np.flatnonzero(told(split))
    before = np.searchsorted(rows, limits)
    return Told(rows[: before.max(initial=0)], before)


def interaction(known: Events, row: int) -> interaction_pb2.Interaction:
    """An event as a backend would send it.

    Its id is its place: profiles order events of one moment by their ids, and so in the order of the evaluation.
    """
    message = interaction_pb2.Interaction(
        event_id=f"{row:012}",
        user_id=known.user_ids[known.users[row]],
        item_id=known.item_ids[known.items[row]],
        action=known.action_names[known.actions[row]],
        event_time_ms=int(known.time_ms[row]),
    )
    value = known.values[row]
    if not np.isnan(value):
        # The shortest decimal that is this float32, which is what was read: 3.3 and not 3.2999999523.
        message.value = float(str(value))
    return message
