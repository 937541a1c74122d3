"""Signals that wait for a safe point."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody has asked to stop. `waits`: safe points are being passed, so that what is asked can wait for
    the next one; until then it happens at once, as KeyboardInterrupt."""

    def __init__(self) -> None:
        self.asked = self.waits = False

    def ask(self) -> None:
        """Raises KeyboardInterrupt where nothing waits, and the second time."""
        if self.asked or not self.waits:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_on_signals(said: str = "") -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM ask to stop; after the second one the system's own way is back, so that a
    third ends the process whatever it does. said: on stderr, when the first one waits. In the main thread only."""
    stop = Stop()

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            for each in before:
                signal.signal(each, signal.SIG_DFL)
        stop.ask()
        # Past Python's buffers: whatever is being printed was interrupted.
        os.write(2, said.encode())

    before = {each: signal.signal(each, asked) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
