"""Which events of a split a running product would have seen, and when."""

import numpy as np

from evaluation.method import EvalQueries
from evaluation.protocols.held_out import Mask
from evaluation.protocols.split import Split
from models.data.events import Events, Ints


def visible_events(split: Split) -> Mask:
    """Rows of the split's `known` that may be counted from their moment on, bool [rows].

    In `next-item` that is everything: history grows. In `leave-one-out` it is the training part, and the histories of
    the users whose events are held out: what they did before the held-out event has happened, whether it is trained on
    or not. The held-out events of other users have not. Elsewhere it is the training part.
    """
    found = split.training.copy()
    if split.name == "next-item":
        found[:] = True
    elif split.name == "leave-one-out":
        for rows in split.queries.before:
            found[rows] = True
    return found


def visible_limits(known: Events, queries: EvalQueries) -> Ints:
    """For each query the row of `known` below which events have happened when it is asked, int64 [b].

    Where times are not real, nothing is later than anything: then it is the query's `visible`.
    """
    if not known.timed:
        return np.asarray(queries.visible, np.int64)
    happened = np.searchsorted(known.time_ms, queries.time_ms, side="right")
    return np.minimum(queries.visible, happened)
