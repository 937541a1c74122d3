"""Faults of ours that a list survives."""

import traceback

import structlog

log = structlog.get_logger()


def log_fault(event: str, error: BaseException) -> None:
    """Logs an exception that nobody else will see.

    As plain text: a renderer that draws tracebacks, arrays and all, takes longer than the list has.
    """
    log.error(event, cause=repr(error), trace="".join(traceback.format_exception(error)))
