"""What a stream was told since it last looked. However much comes, it is one thing to do: look again."""

import asyncio
import time
from dataclasses import dataclass

from profiles.announcements.announcements import Announcement
from profiles.profile import Stored
from server import metrics
from server.streaming.causes import Causes
from telemetry.tracing import spans
from telemetry.tracing.spans import Origin
from telemetry.tracing.w3c import parse

_AHEAD_LIMIT = 256
_HEARD = {
    "messaging.system": "valkey",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
}


@dataclass(slots=True)
class News:
    """What there is to do.

    recompute: make the list again. announced: the newest revision that was announced.
    urgent: the user did something. gone: items on the list may no longer be shown.
    missed: an announcement was lost. since: time.monotonic() of the first of it.
    reread: the store may have what was not announced. newest: the announcement of the highest revision.
    traced: where the traces of what was announced go on, at most 16.
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
        """What came after it, as part of it."""
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
            self.hear(later.newest)

    def hear(self, announcement: Announcement) -> None:
        """Keeps the announcement if it is the newest."""
        if self.newest is None or announcement.revision > self.newest.revision:
            self.newest = announcement


class Inbox:
    """One stream's. Everything here is called on the event loop and returns at once."""

    def __init__(self) -> None:
        self.causes = Causes()
        self.hurry = asyncio.Event()
        self.go_away_ms: int | None = None
        self.revision: int | None = None
        """The revision of the profile that was read last; None before the first, or when it could not be read."""
        self.opened = False
        """Whether the first list was made; before that there is nothing to look at again."""
        self._news = News()
        self._wake = asyncio.Event()
        self._heard: int | None = None  # all announcements up to this revision came
        self._ahead: dict[int, int] = {}  # base -> revision of those that came before one that is due
        self._behind: int | None = None  # what `_heard` was at the last check, if it was behind then

    def announce(self, announcement: Announcement) -> None:
        """The store says that the profile was written."""
        self._listen(announcement.base_revision, announcement.revision)
        if announcement.quiet:
            if self._news.newest is not None:  # a look is due: it may as well take the newest
                self._news.hear(announcement)
            return
        metrics.WAKES_BY["event"].inc()
        self.causes.add(announcement.applied)
        # Revision 0 says only that announcements are heard from now on.
        heard = announcement.revision > 0
        news = News(announced=announcement.revision, reread=not heard, newest=announcement if heard else None)
        if (
            announcement.traceparent
            and spans.on()
            and (parent := parse(announcement.traceparent)) is not None
        ):
            news.traced = (Origin(parent, time.time_ns(), _HEARD),)
        self._tell(news, urgent=True)

    def catalogue(self, gone: bool) -> None:
        """Items on the list changed; `gone`: some may no longer be shown."""
        metrics.WAKES_BY["gone" if gone else "item"].inc()
        self._tell(News(recompute=True, gone=gone))

    def look_again(self, why: str) -> None:
        """Make the list again, when there is time. `why` is one of `metrics.WAKE_CAUSES`."""
        metrics.WAKES_BY[why].inc()
        self._tell(News(recompute=True))

    def check(self, revision: int, silent: bool = False) -> None:
        """The store's revision of the profile, as read once in a while: what was not announced is noticed here.
        `silent`: it is known that nothing was heard for a while."""
        if self.revision is None:
            self.look_again("store")  # it answers again
        elif revision != self.revision:
            metrics.WAKES_BY["revision"].inc()
            self._tell(News(recompute=True, reread=True), urgent=True)
        if self._heard == revision:
            self._behind = None
        elif self._heard is not None and (silent or self._behind == self._heard):
            # For a whole period nothing came: it will not come.
            metrics.MISSED.inc()
            self._catch_up(revision)
            unread = self.revision != revision
            self._tell(News(recompute=unread, reread=unread, missed=True), urgent=True)
        else:
            self._behind = self._heard

    def read(self, revision: int) -> None:
        """The profile was read at this revision."""
        self.revision = revision
        if self._heard is None:
            self._catch_up(revision)

    def lost(self) -> None:
        """The profile could not be read."""
        self.revision = None

    def leave(self, after_ms: int) -> None:
        """The process is about to end: send the client away."""
        self.go_away_ms = after_ms
        self.hurry.set()
        self._wake.set()

    @property
    def pending(self) -> bool:
        """Whether there is anything to do."""
        return self._wake.is_set()

    async def wait(self, seconds: float) -> bool:
        """Whether something came within this time."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> News:
        """What there is to do; then there is nothing, until something comes."""
        news, self._news = self._news, News()
        if self.go_away_ms is None:
            self.hurry.clear()
            self._wake.clear()
        return news

    def calls_for(self, news: News) -> bool:
        """Whether the news calls for a new list: what was announced may be in the profile that was read last."""
        return news.recompute or self.revision is None or news.announced > self.revision

    def announced(self, news: News) -> Stored | None:
        """The profile that came with the news; None where it has to be read: it did not come, something may be
        newer, or it is not newer than what was read last."""
        newest = news.newest
        if newest is None or news.reread or self.revision is None or newest.revision <= self.revision:
            return None
        return newest.stored

    def _tell(self, news: News, urgent: bool = False) -> None:
        news.urgent, news.since = urgent, time.monotonic()
        self._news.add(news)
        if urgent:
            self.hurry.set()
        self._wake.set()

    def _catch_up(self, revision: int) -> None:
        """Whatever came or did not come up to this revision is settled."""
        self._heard, self._behind = revision, None
        ahead, self._ahead = self._ahead, {}
        for base, after in sorted(ahead.items()):
            if after > revision:
                self._listen(base, after)

    def _listen(self, base: int, revision: int) -> None:
        """Follows the chain of revisions, each announcement naming the one before."""
        if self._heard is None or base > self._heard:
            if len(self._ahead) < _AHEAD_LIMIT:
                self._ahead[base] = revision
            return
        self._heard = max(self._heard, revision)
        while (after := self._ahead.pop(self._heard, None)) is not None:
            self._heard = after
