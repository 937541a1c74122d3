"""What a list is made without when something fails: counted, and never the client's problem."""

import traceback

import structlog

from inference.model import ModelUnavailable
from ranking import metrics

log = structlog.get_logger()


def fall_back(what: str, error: BaseException, lists: int = 1) -> None:
    """Counts that so many lists go without this, one of `metrics.FALLBACKS_FROM`, and why.

    A model that is unavailable is ordinary here: its client has said why, and a line a list would drown that. Any other
    exception is a fault of ours, and is logged.
    """
    if isinstance(error, ModelUnavailable):
        metrics.FALLBACKS.labels(what, "unavailable").inc(lists)
    else:
        metrics.FALLBACKS.labels(what, "fault").inc(lists)
        log_fault("fallback_fault", error, what=what)


def log_fault(event: str, error: BaseException, **names: str) -> None:
    """Logs an exception that nobody else will see.

    As plain text: a renderer that draws tracebacks, arrays and all, takes longer than the list has.
    """
    log.error(event, **names, cause=repr(error), trace="".join(traceback.format_exception(error)))
