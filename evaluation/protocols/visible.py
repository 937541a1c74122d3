"""Which events of a split a running product would have seen, and when."""

import numpy as np

from evaluation.method import EvalQueries
from evaluation.protocols.held_out import Mask
from evaluation.protocols.split import Split
from models.data.events import Events, Ints


def visible_events(split: Split) -> Mask:
    """The events of the split that may be counted once they have happened, bool [rows of known].

    In `next-item` these are all events. In `leave-one-out` they are the training part and the histories of the queries:
    what a user did before the held-out event has happened, whether it is trained on or not. Held-out events are never
    counted. In other protocols they are the training part.
    """
    found = split.training.copy()
    if split.name == "next-item":
        found[:] = True
    elif split.name == "leave-one-out":
        for rows in split.queries.before:
            found[rows] = True
    return found


def visible_limits(known: Events, queries: EvalQueries) -> Ints:
    """For each query, the row of `known` below which events have happened at its time, int64 [b].

    Without real timestamps it is the query's `visible`.
    """
    if not known.timed:
        return np.asarray(queries.visible, np.int64)
    happened = np.searchsorted(known.time_ms, queries.time_ms, side="right")
    return np.minimum(queries.visible, happened)
