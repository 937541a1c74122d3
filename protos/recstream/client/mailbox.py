"""The newest list of a stream that its reader has not taken yet."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from recstream.client.frames import FrameReader
from recstream.client.lists import Recommendations
from recstream.v1.frame_pb2 import Frame

#: Most causes that a list takes over from unread lists that it replaces.
CAUSES_KEPT = 256


class Mailbox:
    """Applies every frame in order, and keeps the newest list until it is taken.

    A list that is unread when the next one comes is dropped, and the next one takes over its causes.

    Args:
        resume: the last list of an earlier stream; None: start with none.
    """

    def __init__(self, resume: Recommendations | None = None) -> None:
        self._frames = FrameReader(resume)
        self._unread: Recommendations | None = None
        #: Set whenever a list comes. Its reader clears it.
        self.changed = asyncio.Event()

    @property
    def newest(self) -> Recommendations | None:
        """The newest list, even if it is unread."""
        return self._frames.held

    def connected(self) -> str:
        """Expects the first frame of a connection next. Returns the token to resume from."""
        self._frames.connected()
        return self._frames.resume_token

    def receive(self, frame: Frame) -> None:
        """Applies a frame.

        Raises:
            GoingAway: see `FrameReader.read`.
            ProtocolViolation: see `FrameReader.read`.
        """
        newest = self._frames.read(frame)
        if newest is None:
            return
        if self._unread is not None:
            causes = (*self._unread.causes, *newest.causes)
            newest = replace(newest, causes=causes[-CAUSES_KEPT:])
        self._unread = newest
        self.changed.set()

    def take(self) -> Recommendations | None:
        """Returns the newest list if it is unread."""
        unread, self._unread = self._unread, None
        return unread
