"""gRPC does not survive a fork: calls in a process that is forked from one that used it hang."""

from __future__ import annotations

import os

from recstream.client.errors import RecstreamError

_process: int | None = None


def is_forked() -> bool:
    """Whether this process is forked from one that used a client."""
    return _process is not None and _process != os.getpid()


def claim_process() -> None:
    """Notes that this process uses a client.

    Raises:
        RecstreamError: it is forked from one that did.
    """
    global _process
    if is_forked():
        raise RecstreamError(
            f"process {_process} used a client and then forked into this one, which gRPC does not survive; make the "
            "first call after the fork, as in gunicorn's post_fork and Celery's worker_process_init, or start "
            "processes with `spawn`"
        )
    _process = os.getpid()
