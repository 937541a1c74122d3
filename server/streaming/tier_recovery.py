"""Tier recovery: finds out when the model answers again, for streams with slates of a lower tier."""

import asyncio
import random

from recstream.v1 import slate_pb2
from server.profiles.profile_reader import ProfileSnapshot
from server.streaming.mailbox import Mailbox


class TierRecovery:
    """Lets one of the waiting streams try again, and wakes all others once it succeeds.

    The cost of a model that is down therefore does not depend on the number of streams, and all of them get ranked
    slates when it is back.

    Args:
        seconds: The interval between tries.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: set[Mailbox] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def on_slate(self, mailbox: Mailbox, snapshot: ProfileSnapshot, slate: slate_pb2.Slate) -> None:
        """Record the tier of a stream's new slate.

        Streams of users without a profile do not wait, because there may be no better tier for them.
        """
        if slate.tier == slate_pb2.TIER_RANKED:
            if mailbox in self._waiting:
                self._waiting.discard(mailbox)
                for other in self._waiting:
                    other.look_again("tier")
        elif snapshot.stored is not None:
            self._waiting.add(mailbox)
        else:
            self._waiting.discard(mailbox)

    def remove(self, mailbox: Mailbox) -> None:
        """Remove a stream that has ended."""
        self._waiting.discard(mailbox)

    async def run(self) -> None:
        """Wake a random waiting stream at each interval, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            if self._waiting:
                random.choice(list(self._waiting)).look_again("tier")
