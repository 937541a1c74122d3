"""SIGINT and SIGTERM as requests to stop at the next safe point."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """A request to stop.

    Attributes:
        requested: whether there is one.
        deferred: whether the training passes safe points, so that a request waits for the next one. Until then a
            request raises KeyboardInterrupt at once.
    """

    def __init__(self) -> None:
        self.requested = self.deferred = False

    def request(self) -> None:
        """Requests a stop.

        Raises:
            KeyboardInterrupt: nothing waits for a safe point, or this is the second request.
        """
        if self.requested or not self.deferred:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_on_signals(message: str = "") -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM request a stop. For the main thread only.

    After the second signal the default handlers are back, so that a third one ends the process in any case.

    Args:
        message: printed on stderr when the first request is deferred.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            for each in previous:
                signal.signal(each, signal.SIG_DFL)
        stop.request()
        # Past Python's buffers: the signal may have interrupted a print.
        os.write(2, message.encode())

    previous = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
