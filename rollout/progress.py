"""The interface through which a rollout reports its progress."""

from typing import Protocol


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
