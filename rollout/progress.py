"""The interface through which a rollout reports its progress."""

from collections.abc import Callable
from typing import Protocol

import structlog

log = structlog.get_logger()


class ProgressListener(Protocol):
    """A listener to a rollout: a terminal, a log, or a test."""

    def message(self, text: str) -> None:
        """Called when a step is done, or when a person should look at something. `text` is one sentence."""

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Called repeatedly during a long step.

        Args:
            step: The name of the step, such as "Computing item vectors". It is the same in all calls.
            done: How many items, profiles or records are done.
            total: How many there are; None: unknown. The step is over when `done` equals it.
        """


class Silent:
    """A listener that ignores everything."""

    def message(self, text: str) -> None:
        """Does nothing."""

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Does nothing."""


class Guarded:
    """Passes everything on to a listener until the listener raises, as a closed terminal does. A rollout that changes
    what is served must not stop half-way because nobody listens.

    Args:
        listener: Whoever follows the rollout.
    """

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener

    def message(self, text: str) -> None:
        """Passes the message on."""
        self._pass_on(lambda listener: listener.message(text))

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Passes the progress on."""
        self._pass_on(lambda listener: listener.progress(step, done, total))

    def _pass_on(self, notify: Callable[[ProgressListener], None]) -> None:
        try:
            notify(self._listener)
        except Exception as error:
            log.warning("rollout_listener_lost", cause=repr(error))
            self._listener = Silent()
