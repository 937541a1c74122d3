"""Counts the parts that a list is made without when something fails."""

from inference.model import ModelUnavailable
from ranking import metrics
from telemetry.faults import hold_back


def fall_back(what: str, error: BaseException, lists: int = 1) -> None:
    """Counts lists that are made without a part, and why.

    An unavailable model is not logged. Its client has logged the cause, and a line per list would bury it. Any other
    exception is a fault in our code, and is logged.

    Args:
        what: The missing part, one of `metrics.FALLBACKS_FROM`.
        error: Why it is missing.
        lists: Number of lists.
    """
    if isinstance(error, ModelUnavailable):
        metrics.FALLBACKS.labels(what, "unavailable").inc(lists)
    else:
        metrics.FALLBACKS.labels(what, "fault").inc(lists)
        hold_back("ranking", error, without=what)
