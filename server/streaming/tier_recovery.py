"""Recovery of the tier: streams of a lower tier find out when the model answers again."""

import asyncio
import random

from recstream.v1 import slate_pb2
from server.profiles.profile_reader import ProfileSnapshot
from server.streaming.mailbox import Mailbox


class TierRecovery:
    """Has one of the streams of a lower tier try again, and wakes all others once it succeeds.

    So a model that is down costs the same however many streams are open, and its return reaches all of them.

    Args:
        seconds: The period of the tries.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: set[Mailbox] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def on_slate(self, mailbox: Mailbox, snapshot: ProfileSnapshot, slate: slate_pb2.Slate) -> None:
        """Note the tier of a stream's new slate.

        Streams of users without a profile do not wait: there may be no better tier for them.
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
        """Forget a stream that has ended."""
        self._waiting.discard(mailbox)

    async def run(self) -> None:
        """Wake one stream after the other, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            if self._waiting:
                random.choice(list(self._waiting)).look_again("tier")
