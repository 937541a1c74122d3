"""Streams whose list a better tier would answer, if the model were there."""

import asyncio
import random

from recstream.v1 import slate_pb2
from server.profiles.profile_reader import Known
from server.streaming.mailbox import Inbox


class Degraded:
    """One of them tries once in a while; when it succeeds, all the others look again. So a dead model costs the
    same however many streams are open, and its return reaches all of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: set[Inbox] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def made(self, inbox: Inbox, known: Known, slate: slate_pb2.Slate) -> None:
        """A stream got this list. Users without a profile count not: for them there may be no better tier."""
        if slate.tier == slate_pb2.TIER_RANKED:
            if inbox in self._waiting:
                self._waiting.discard(inbox)
                for other in self._waiting:
                    other.look_again("tier")
        elif known.stored is not None:
            self._waiting.add(inbox)
        else:
            self._waiting.discard(inbox)

    def drop(self, inbox: Inbox) -> None:
        """The stream has ended."""
        self._waiting.discard(inbox)

    async def run(self) -> None:
        """Wakes one at a time, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            if self._waiting:
                random.choice(list(self._waiting)).look_again("tier")
