"""Counts the parts that a list is made without when something fails."""

import traceback

import structlog

from inference.model import ModelUnavailable
from ranking import metrics

log = structlog.get_logger()


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
        log_fault("fallback_fault", error, what=what)


def log_fault(event: str, error: BaseException, **names: str) -> None:
    """Logs an exception that is not raised any further.

    The traceback is plain text, because rendering one with all of its arrays takes longer than a list may.
    """
    log.error(event, **names, cause=repr(error), trace="".join(traceback.format_exception(error)))
