"""All open streams of the process, and the changes that they are notified of."""

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from profiles.errors import StoreUnavailable
from profiles.store.store import ProfileStore
from ranking.query import ListRequest
from server import metrics
from server.profiles.profile_reader import ProfileReader
from server.profiles.subscriptions import Subscriptions
from server.requests.slate_service import SlateService
from server.settings import ServerSettings
from server.streaming.item_watch import ItemWatch
from server.streaming.mailbox import Mailbox
from server.streaming.stream import Opening, Send, Stream
from server.streaming.tier_recovery import TierRecovery
from server.tokens.sealing import Sealer
from server.writes.slate_log import SlateLog

log = structlog.get_logger()
_REVISIONS_A_READ = 1_000
_CROWD = 250


class Streams:
    """Opens streams, notifies them of changes, and ends them when the process shuts down.

    Args:
        profile_reader: Reads profiles.
        slate_service: Makes slates.
        items: Watches the items of slates.
        subscriptions: Subscribes to users' announcements.
        slate_log: Records the sent slates.
        store: The store, for the revisions of profiles.
        sealer: Makes resume tokens.
        settings: Periods and time limits.
    """

    def __init__(
        self,
        *,
        profile_reader: ProfileReader,
        slate_service: SlateService,
        items: ItemWatch,
        subscriptions: Subscriptions,
        slate_log: SlateLog,
        store: ProfileStore,
        sealer: Sealer,
        settings: ServerSettings,
    ) -> None:
        self._sealer = sealer
        self._profile_reader = profile_reader
        self._slate_service = slate_service
        self._items = items
        self._subscriptions = subscriptions
        self._slate_log = slate_log
        self._store = store
        self._settings = settings
        self._tier_recovery = TierRecovery(settings.tier_recovery_seconds)
        self._open: dict[Mailbox, str] = {}
        self._surfaces: dict[Mailbox, str] = {}
        self._reread = asyncio.Event()
        self._silent = False
        self._leaving = False

    def __len__(self) -> int:
        return len(self._open)

    async def run_one(
        self,
        request: ListRequest,
        opening: Opening,
        send: Send,
        mailbox: Mailbox,
    ) -> None:
        """Run one stream until it is cancelled or its mailbox ends it, and free its resources.

        Args:
            request: The request for lists.
            opening: What the client sees of them, and what it has.
            send: Writes a frame to the client.
            mailbox: The mailbox of the stream.

        Raises:
            Draining: The process is shutting down, or the stream is old.
            SlowConsumer: The client does not read.
        """
        self._open[mailbox] = request.user_id
        self._surfaces[mailbox] = request.surface
        if self._leaving:
            mailbox.send_away(0)
        age = self._settings.stream_max_age_seconds * random.uniform(0.9, 1.1)
        aged = asyncio.get_running_loop().call_later(age, mailbox.send_away, 0)
        stream = Stream(
            request=request,
            opening=opening,
            sealer=self._sealer,
            send=send,
            mailbox=mailbox,
            profile_reader=self._profile_reader,
            slate_service=self._slate_service,
            items=self._items,
            tier_recovery=self._tier_recovery,
            slate_log=self._slate_log,
            settings=self._settings,
        )
        try:
            # Subscribe before reading, so that no change in between is lost.
            async with self._subscriptions.subscribed(request.user_id, mailbox.on_announcement):
                await stream.run()
        finally:
            aged.cancel()
            del self._open[mailbox], self._surfaces[mailbox]
            self._items.remove(mailbox)
            self._tier_recovery.remove(mailbox)

    async def leave(self, seconds: float) -> None:
        """End all streams one after the other. Streams that are opened from now on end at once.

        Each stream continues until its turn. So no client is without a server, and the other servers are not flooded.

        Args:
            seconds: How long it takes to end all of them. Fewer than 250 streams take proportionally less.
        """
        self._leaving = True
        leaving = list(self._open)
        random.shuffle(leaving)
        begun = time.monotonic()
        for position, mailbox in enumerate(leaving):
            await asyncio.sleep(begun + seconds * position / max(len(leaving), _CROWD) - time.monotonic())
            mailbox.send_away(0)

    def look_again(self, why: str, of: Callable[[str], bool] = lambda _: True) -> None:
        """Request a new slate for every stream, with low priority.

        Args:
            why: One of `metrics.WAKEUP_CAUSES`.
            of: Whether the streams of a surface are meant.
        """
        for mailbox, surface in self._surfaces.items():
            if of(surface):
                mailbox.look_again(why)

    def reread_now(self) -> None:
        """Read all revisions now, because announcements were lost."""
        self._silent = True
        self._reread.set()

    async def recover_tiers(self) -> None:
        """Let streams with slates of a lower tier try for a better one, one at a time, until cancelled."""
        await self._tier_recovery.run()

    async def reread(self) -> None:
        """Read the profile revisions of all open streams periodically, until cancelled."""
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
        before = {mailbox: mailbox.revision for mailbox in self._open}
        users = sorted(set(self._open.values()))
        revisions: dict[str, int | None] = {}
        try:
            for at in range(0, len(users), _REVISIONS_A_READ):
                some = users[at : at + _REVISIONS_A_READ]
                revisions.update(zip(some, await self._store.revisions(some), strict=True))
            metrics.STORE_UP.set(1)
        except StoreUnavailable as error:
            self._silent |= silent
            metrics.STORE_UP.set(0)
            log.warning("revisions_unread", streams=len(before), cause=repr(error))
            return
        for mailbox, revision_before in before.items():
            user_id = self._open.get(mailbox)
            # If a stream has read its profile meanwhile, this revision is outdated.
            revision = revisions.get(user_id) if user_id is not None else None
            if revision is not None and mailbox.revision == revision_before and mailbox.opened:
                mailbox.check(revision, silent)
