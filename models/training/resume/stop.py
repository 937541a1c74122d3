"""Turns SIGINT and SIGTERM into requests to stop at the next safe point."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """A request to stop.

    Attributes:
        requested: whether a stop is requested.
        deferred: whether the training passes safe points, so that a request waits for the next one. Otherwise a request
            raises KeyboardInterrupt at once.
    """

    def __init__(self) -> None:
        self.requested = self.deferred = False

    def request(self) -> None:
        """Requests a stop.

        Raises:
            KeyboardInterrupt: requests are not deferred, or this is the second one.
        """
        if self.requested or not self.deferred:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_on_signals(message: str = "") -> Iterator[Stop]:
    """Within the block, SIGINT and SIGTERM request a stop. It works in the main thread only.

    The second signal restores the default handlers, so that a third one ends the process in any case.

    Args:
        message: printed on stderr when the first request is deferred.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            for each in previous:
                signal.signal(each, signal.SIG_DFL)
        stop.request()
        # Written past Python's buffers, because the signal may have interrupted a print.
        os.write(2, message.encode())

    previous = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
