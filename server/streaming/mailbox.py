"""The mailbox of a stream: what happened since its last slate. However much arrives, it leads to one new slate."""

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
    """News for a stream, merged.

    Attributes:
        recompute: Whether the slate must be made again.
        urgent: Whether the user did something.
        gone: Whether items of the slate may no longer be shown.
        missed: Whether an announcement was lost.
        since: When the first of the news arrived, on `time.monotonic()`. 0.0 without news.
        announced: The highest announced revision.
        reread: Whether the store may have a profile that was not announced.
        newest: The announcement of the highest revision.
        traced: The parent spans of traced events, at most 16.
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
        """Merge later news into these."""
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
    """Collects the news of one stream. Call it on the event loop. Only `wait` waits.

    Attributes:
        causes: The events that wait to be named by a frame.
        hurry: Set while the user waits for the effect of an action, or the stream has to end.
        ending: Whether the stream ends after one more look at the news.
        go_away_ms: Once set, the stream ends, and its client is told to reconnect after this many milliseconds.
        revision: The revision of the profile that was read last. None: none was read yet, or it was unavailable.
        opened: Whether the first slate was made. Revisions are not checked before.
    """

    def __init__(self) -> None:
        self.causes = Causes()
        self.hurry = asyncio.Event()
        self.ending = False
        self.go_away_ms: int | None = None
        self.revision: int | None = None
        self.opened = False
        self._news = News()
        self._wake = asyncio.Event()
        # All announcements up to this revision were received.
        self._received: int | None = None
        # Revision by base revision, for announcements that arrived before their predecessors.
        self._ahead: dict[int, int] = {}
        # `_received` at the last check, if it was behind the store's revision.
        self._behind: int | None = None

    def on_announcement(self, announcement: Announcement) -> None:
        """Receive an announcement that the profile was written."""
        self._follow_chain(announcement.base_revision, announcement.revision)
        if announcement.quiet:
            if self._news.newest is not None:  # A new slate is due anyway, and should use the newest profile.
                self._news.on_announcement(announcement)
            return
        metrics.STREAM_WAKEUPS_BY["event"].inc()
        self.causes.add(announcement.applied)
        # Revision 0 only means that the subscription is active from now on.
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
        """Receive a change of items on the slate.

        Args:
            gone: Whether some of them may no longer be shown.
        """
        metrics.STREAM_WAKEUPS_BY["gone" if gone else "item"].inc()
        self._notify(News(recompute=True, gone=gone))

    def look_again(self, why: str) -> None:
        """Request a new slate, with low priority.

        Args:
            why: One of `metrics.WAKEUP_CAUSES`.
        """
        metrics.STREAM_WAKEUPS_BY[why].inc()
        self._notify(News(recompute=True))

    def check(self, revision: int, silent: bool = False) -> None:
        """Compare the profile's revision in the store with this stream's. This detects lost announcements.

        Args:
            revision: The revision in the store.
            silent: Whether announcements are known to have been lost.
        """
        if self.revision is None:
            self.look_again("store")  # The store answers again.
        elif revision != self.revision:
            metrics.STREAM_WAKEUPS_BY["revision"].inc()
            self._notify(News(recompute=True, reread=True), urgent=True)
        if self._received == revision:
            self._behind = None
            if not self._news.missed:
                self.causes.all_announced()
        elif self._received is not None and (silent or self._behind == self._received):
            # The announcement has not arrived for a whole period, so it is lost.
            metrics.MISSED.inc()
            self._catch_up(revision)
            unread = self.revision != revision
            self._notify(News(recompute=unread, reread=unread, missed=True), urgent=True)
        else:
            self._behind = self._received

    def on_profile_read(self, revision: int) -> None:
        """Record that the stream read the profile at this revision."""
        self.revision = revision
        if self._received is None:
            self._catch_up(revision)

    def on_profile_unavailable(self) -> None:
        """Record that the profile could not be read."""
        self.revision = None

    def end(self, revision: int) -> None:
        """End the stream in order, after a last slate that is of this revision of the profile or a later one.

        Args:
            revision: The revision in the store. 0: only what the stream already knows.
        """
        self.ending = True
        # The announcements of events in that profile may still be on their way. The last frame cannot wait for them.
        self._notify(News(announced=revision, reread=True, missed=True), urgent=True)

    def send_away(self, after_ms: int) -> None:
        """End the stream. The client opens another one.

        Args:
            after_ms: Delay before the client reconnects, in milliseconds.
        """
        self.go_away_ms = after_ms
        self.hurry.set()
        self._wake.set()

    @property
    def pending(self) -> bool:
        """Whether there are news, or the stream has to end."""
        return self._wake.is_set()

    async def wait(self, seconds: float) -> bool:
        """Wait until `pending` is true, for at most this time. Return whether it is."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> News:
        """Return the news, and start with empty ones."""
        news, self._news = self._news, News()
        if self.go_away_ms is None and not self.ending:
            self.hurry.clear()
            self._wake.clear()
        return news

    def calls_for(self, news: News) -> bool:
        """Return whether the news require a new slate. They do not if the last read profile includes all of them."""
        return news.recompute or self.revision is None or news.announced > self.revision

    def announced(self, news: News) -> Stored | None:
        """Return the profile that came with the news.

        None: the profile has to be read. Either no profile came, or the store may have a newer one, or the stream has
        already read one that is as new.
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
        """Treat all announcements up to this revision as received."""
        self._received, self._behind = revision, None
        ahead, self._ahead = self._ahead, {}
        for base, later in sorted(ahead.items()):
            if later > revision:
                self._follow_chain(base, later)

    def _follow_chain(self, base: int, revision: int) -> None:
        """Follow the chain of announcements. Each one names its predecessor's revision."""
        if self._received is None or base > self._received:
            if len(self._ahead) < _AHEAD_LIMIT:
                self._ahead[base] = revision
            return
        self._received = max(self._received, revision)
        while (later := self._ahead.pop(self._received, None)) is not None:
            self._received = later
