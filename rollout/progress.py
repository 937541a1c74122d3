"""How a rollout tells what it does, without knowing who listens."""

from typing import Protocol


class ProgressListener(Protocol):
    """Whoever follows a rollout: a terminal, a log, a test."""

    def message(self, text: str) -> None:
        """A step is done, or a person should look at something. One sentence."""

    def progress(self, step: str, done: int, total: int | None) -> None:
        """How far a long step is. Called again as it goes on.

        Args:
            step: What is done, such as "Computing item vectors". It names the step in later calls.
            done: Items, profiles or records that are done.
            total: How many there are; None where that is not known. The step is over when `done` equals it.
        """


class Silent:
    """Listens to nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Nothing."""
