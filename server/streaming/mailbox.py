"""What happened to a stream since it last looked. However much comes, there is one thing to do: look again."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from profiles.announcements.announcement import Announcement
from profiles.profile import Stored
from server import metrics
from server.streaming.causes import Causes
from telemetry.tracing import spans
from telemetry.tracing.spans import Origin
from telemetry.tracing.w3c import parse

_AHEAD_LIMIT: Final = 256
_SPAN: Final = {
    "messaging.system": "valkey",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}


@dataclass(slots=True)
class News:
    """What there is to do.

    Attributes:
        recompute: Make the slate again.
        urgent: The user did something.
        gone: Items of the slate may no longer be shown.
        missed: An announcement was lost.
        since: When the first of the news came, on `time.monotonic()`; 0.0 without news.
        announced: The highest revision that was announced.
        reread: The store may have a profile that was not announced.
        newest: The announcement of the highest revision.
        traced: Where the traces of the announced events go on, at most 16.
    """

    recompute: bool = False
    urgent: bool = False
    gone: bool = False
    missed: bool = False
    since: float = 0.0
    announced: int = 0
    reread: bool = False
    newest: Announcement | None = None
    traced: tuple[Origin, ...] = ()

    def add(self, later: "News") -> None:
        """Merge what came after it."""
        self.recompute |= later.recompute
        self.urgent |= later.urgent
        self.gone |= later.gone
        self.missed |= later.missed
        self.since = self.since or later.since
        self.announced = max(self.announced, later.announced)
        self.reread |= later.reread
        if later.traced:
            self.traced = (*self.traced, *later.traced)[: spans.MOST]
        if later.newest is not None:
            self.on_announcement(later.newest)

    def on_announcement(self, announcement: Announcement) -> None:
        """Keep the announcement if it is the newest."""
        if self.newest is None or announcement.revision > self.newest.revision:
            self.newest = announcement


class Mailbox:
    """The news of one stream. Every method is called on the event loop, and only `wait` waits.

    Attributes:
        causes: The events that wait to be named by a frame.
        hurry: Set while the user waits for the effect of an action, or the stream has to end.
        go_away_ms: Once set: end the stream, and tell the client to come back after so many milliseconds.
        revision: The revision of the profile that was read last. None: none was read yet, or it was unavailable.
        opened: Whether the first slate was made. Before that there is nothing to look at again.
    """

    def __init__(self) -> None:
        self.causes = Causes()
        self.hurry = asyncio.Event()
        self.go_away_ms: int | None = None
        self.revision: int | None = None
        self.opened = False
        self._news = News()
        self._wake = asyncio.Event()
        # All announcements up to this revision were received.
        self._received: int | None = None
        # Base revision to revision, of announcements that came before one that is due.
        self._ahead: dict[int, int] = {}
        # `_received` at the last check of the revision, if it was behind the store's then.
        self._behind: int | None = None

    def on_announcement(self, announcement: Announcement) -> None:
        """Take an announcement that the profile was written."""
        self._follow_chain(announcement.base_revision, announcement.revision)
        if announcement.quiet:
            if self._news.newest is not None:  # the stream is about to look: it may as well take the newest
                self._news.on_announcement(announcement)
            return
        metrics.STREAM_WAKEUPS_BY["event"].inc()
        self.causes.add(announcement.applied)
        # Revision 0 says only that the subscription is in force from now on.
        written = announcement.revision > 0
        news = News(
            announced=announcement.revision, reread=not written, newest=announcement if written else None
        )
        if (
            announcement.traceparent
            and spans.on()
            and (parent := parse(announcement.traceparent)) is not None
        ):
            news.traced = (Origin(parent, time.time_ns(), _SPAN),)
        self._notify(news, urgent=True)

    def on_item_change(self, gone: bool) -> None:
        """Take a change of items on the slate.

        Args:
            gone: Whether some of them may no longer be shown.
        """
        metrics.STREAM_WAKEUPS_BY["gone" if gone else "item"].inc()
        self._notify(News(recompute=True, gone=gone))

    def look_again(self, why: str) -> None:
        """Have the slate made again, when there is time.

        Args:
            why: One of `metrics.WAKEUP_CAUSES`.
        """
        metrics.STREAM_WAKEUPS_BY[why].inc()
        self._notify(News(recompute=True))

    def check(self, revision: int, silent: bool = False) -> None:
        """Compare with the store's revision of the profile, which finds what was not announced.

        Args:
            revision: The revision that the store has.
            silent: Whether announcements are known to have been lost.
        """
        if self.revision is None:
            self.look_again("store")  # it answers again
        elif revision != self.revision:
            metrics.STREAM_WAKEUPS_BY["revision"].inc()
            self._notify(News(recompute=True, reread=True), urgent=True)
        if self._received == revision:
            self._behind = None
        elif self._received is not None and (silent or self._behind == self._received):
            # Nothing came for a whole period: it is lost.
            metrics.MISSED.inc()
            self._catch_up(revision)
            unread = self.revision != revision
            self._notify(News(recompute=unread, reread=unread, missed=True), urgent=True)
        else:
            self._behind = self._received

    def on_profile_read(self, revision: int) -> None:
        """Note that the stream read the profile at this revision."""
        self.revision = revision
        if self._received is None:
            self._catch_up(revision)

    def on_profile_unavailable(self) -> None:
        """Note that the profile could not be read."""
        self.revision = None

    def send_away(self, after_ms: int) -> None:
        """End the stream, because the process ends.

        Args:
            after_ms: When the client may come back.
        """
        self.go_away_ms = after_ms
        self.hurry.set()
        self._wake.set()

    @property
    def pending(self) -> bool:
        """Whether there is anything to do."""
        return self._wake.is_set()

    async def wait(self, seconds: float) -> bool:
        """Wait for something to do, and return whether it came within this time."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> News:
        """Return what there is to do, and begin an empty list."""
        news, self._news = self._news, News()
        if self.go_away_ms is None:
            self.hurry.clear()
            self._wake.clear()
        return news

    def calls_for(self, news: News) -> bool:
        """Return whether the news calls for a new slate. It does not if the profile that was read last has it all."""
        return news.recompute or self.revision is None or news.announced > self.revision

    def announced(self, news: News) -> Stored | None:
        """Return the profile that came with the news.

        None: it has to be read. No profile came, the store may have a newer one, or the stream has read one that is as
        new.
        """
        newest = news.newest
        if newest is None or news.reread or self.revision is None or newest.revision <= self.revision:
            return None
        return newest.stored

    def _notify(self, news: News, urgent: bool = False) -> None:
        news.urgent, news.since = urgent, time.monotonic()
        self._news.add(news)
        if urgent:
            self.hurry.set()
        self._wake.set()

    def _catch_up(self, revision: int) -> None:
        """Settle everything up to this revision, whether it was announced or not."""
        self._received, self._behind = revision, None
        ahead, self._ahead = self._ahead, {}
        for base, later in sorted(ahead.items()):
            if later > revision:
                self._follow_chain(base, later)

    def _follow_chain(self, base: int, revision: int) -> None:
        """Follow the chain of revisions: each announcement names the one before it."""
        if self._received is None or base > self._received:
            if len(self._ahead) < _AHEAD_LIMIT:
                self._ahead[base] = revision
            return
        self._received = max(self._received, revision)
        while (later := self._ahead.pop(self._received, None)) is not None:
            self._received = later
