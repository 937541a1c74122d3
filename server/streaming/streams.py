"""All open streams of the process, and what reaches them from outside."""

import asyncio
import random
import time

import structlog

from profiles.errors import StoreUnavailable
from profiles.store.store import ProfileStore
from ranking.query import ListRequest
from server import metrics
from server.requests.slate_service import Lists
from server.settings import ServerSettings
from server.streaming.item_watch import ItemWatch
from server.streaming.mailbox import Inbox
from server.streaming.stream import Send, Stream
from server.streaming.subscriptions import Subscriptions
from server.streaming.tier_recovery import Degraded
from server.writes.slate_log import SlateLog

log = structlog.get_logger()
_REREAD_AT_ONCE = 1_000
_CROWD = 250


class Streams:
    """Opens streams, keeps them informed, and sends them away in the end."""

    def __init__(
        self,
        lists: Lists,
        items: ItemWatch,
        subscriptions: Subscriptions,
        slates: SlateLog,
        store: ProfileStore,
        settings: ServerSettings,
    ) -> None:
        self._lists = lists
        self._items = items
        self._subscriptions = subscriptions
        self._slates = slates
        self._store = store
        self._settings = settings
        self._degraded = Degraded(settings.degraded_refresh_seconds)
        self._open: dict[Inbox, str] = {}
        self._reread = asyncio.Event()
        self._silent = False
        self._leaving = False

    def __len__(self) -> int:
        return len(self._open)

    async def run_one(self, request: ListRequest, deltas: bool, resume_token: str, send: Send) -> None:
        """One stream, until it is cancelled. Raises Draining and StuckReader; frees everything it held."""
        inbox = Inbox()
        self._open[inbox] = request.user_id
        if self._leaving:
            inbox.leave(0)
        stream = Stream(
            request,
            inbox,
            self._lists,
            self._items,
            self._degraded,
            self._slates,
            self._settings,
            send,
            deltas,
            resume_token,
        )
        try:
            # Subscribed first, then read: no change falls between.
            async with self._subscriptions.heard(request.user_id, inbox.announce):
                await stream.run()
        finally:
            del self._open[inbox]
            self._items.drop(inbox)
            self._degraded.drop(inbox)

    async def leave(self, seconds: float) -> None:
        """Sends every stream away, one after the other over so long, a few in less, and whatever still comes at once.
        Until its turn a stream goes on as before: nobody waits without a server, and those that they come to meet no
        crowd."""
        self._leaving = True
        leaving = list(self._open)
        random.shuffle(leaving)
        begun = time.monotonic()
        for place, inbox in enumerate(leaving):
            await asyncio.sleep(begun + seconds * place / max(len(leaving), _CROWD) - time.monotonic())
            inbox.leave(0)

    def look_again(self, why: str) -> None:
        """All lists are to be made again, when there is time."""
        for inbox in self._open:
            inbox.look_again(why)

    def reread_now(self) -> None:
        """Announcements were lost: read all revisions at once."""
        self._silent = True
        self._reread.set()

    async def recover_tiers(self) -> None:
        """Wakes a stream whose list a better tier would answer, one at a time, until cancelled."""
        await self._degraded.run()

    async def reread(self) -> None:
        """Reads the revisions of all open streams' profiles once in a while, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._settings.reread_seconds):
                    await self._reread.wait()
            except TimeoutError:
                pass
            self._reread.clear()
            await self._read_revisions()

    async def _read_revisions(self) -> None:
        silent, self._silent = self._silent, False
        known = {inbox: inbox.revision for inbox in self._open}
        users = sorted(set(self._open.values()))
        revisions: dict[str, int | None] = {}
        try:
            for at in range(0, len(users), _REREAD_AT_ONCE):
                some = users[at : at + _REREAD_AT_ONCE]
                revisions.update(zip(some, await self._store.revisions(some), strict=True))
            metrics.STORE_UP.set(1)
        except StoreUnavailable as error:
            self._silent |= silent
            metrics.STORE_UP.set(0)
            log.warning("revisions_unread", streams=len(known), cause=repr(error))
            return
        for inbox, before in known.items():
            user_id = self._open.get(inbox)
            # A stream that read its profile in the meantime knows better.
            revision = revisions.get(user_id) if user_id is not None else None
            if revision is not None and inbox.revision == before and inbox.opened:
                inbox.check(revision, silent)
