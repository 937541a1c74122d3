"""What of a split's events a product that is running would have been told, at their time."""

from evaluation.protocols.held_out import Mask
from evaluation.protocols.split import Split


def visible_events(split: Split) -> Mask:
    """Rows of the split's `known` that may be counted from their moment on, bool [rows].

    In `next-item` that is everything: history grows. In `leave-one-out` what is learned from, and the histories of
    those who are asked for: their events before the one that is to be found have happened, to be learned from or not;
    what others are still to be asked for has not. Else what is learned from.
    """
    found = split.training.copy()
    if split.name == "next-item":
        found[:] = True
    elif split.name == "leave-one-out":
        for rows in split.queries.before:
            found[rows] = True
    return found
