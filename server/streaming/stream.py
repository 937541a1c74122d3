"""One open stream: look, send, wait."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from ranking.query import ListRequest
from ranking.slate.ranked import Ranked
from recstream.v1 import frame_pb2, slate_pb2
from server import metrics
from server.errors import Draining, StuckReader
from server.profiles.profile_reader import Known
from server.requests.ranking_limiter import Lane
from server.requests.slate_service import Lists
from server.settings import ServerSettings
from server.streaming.causes import Partition
from server.streaming.frames import delta, digest, resume_token, resumed_digest
from server.streaming.item_watch import ItemWatch
from server.streaming.mailbox import Inbox, News
from server.streaming.stream_gauge import Showing
from server.streaming.tier_recovery import Degraded
from server.writes.slate_log import SlateLog
from telemetry.tracing.spans import Followed, SpanKind, child

Send = Callable[[frame_pb2.Frame], Awaitable[None]]


class Stream:
    """The loop of one stream. While it ranks or writes, whatever comes waits in its inbox as one thing to do: so at
    most one list is being made or sent for it, and a slow reader gets the newest one when it reads again."""

    def __init__(
        self,
        request: ListRequest,
        inbox: Inbox,
        lists: Lists,
        items: ItemWatch,
        degraded: Degraded,
        slates: SlateLog,
        settings: ServerSettings,
        send: Send,
        deltas: bool,
        token: str,
    ) -> None:
        self._request = request
        self._inbox = inbox
        self._lists = lists
        self._items = items
        self._degraded = degraded
        self._slates = slates
        self._settings = settings
        self._write = send
        self._deltas = deltas
        self._resumed = resumed_digest(token) if token else None
        self._token = token if self._resumed else ""
        self._sequence = 0
        self._held: Ranked | None = None  # what the client has
        self._whole = False  # whether it has it from us: without, it can take no delta
        self._digest: bytes | None = None
        self._watermarks: Mapping[Partition, int] = {}
        self._begun = False
        self._missed = False
        self._surface = lists.labels.surface(request.surface)
        self._showing = Showing(self._surface)
        self._sent_at = time.monotonic()
        self._made_at = time.monotonic()

    async def run(self) -> None:
        """Until cancelled. Raises Draining after the go-away, and StuckReader."""
        try:
            await self._run()
        finally:
            self._showing.ends()

    async def _run(self) -> None:
        await self._look()
        if len(self._inbox.causes):
            await self._look()  # what was announced before the first frame is named by the next
        while True:
            now = time.monotonic()
            heartbeat = self._sent_at + self._settings.heartbeat_seconds - now
            refresh = self._made_at + self._settings.refresh_seconds * random.uniform(0.8, 1.2) - now
            refreshes = self._settings.refresh_seconds > 0
            woken = await self._inbox.wait(min(heartbeat, refresh) if refreshes else heartbeat)
            if self._inbox.go_away_ms is not None:
                await self._go_away(self._inbox.go_away_ms)
            elif woken:
                await self._look()
            elif refreshes and refresh <= heartbeat:
                self._inbox.look_again("age")
            else:
                await self._send(frame_pb2.Frame(heartbeat=frame_pb2.Heartbeat()), "heartbeat")

    async def _look(self) -> None:
        """Does what there is to do, with all that comes while it waits for its turn."""
        news = self._inbox.take()
        with Followed("process announcement", SpanKind.CONSUMER, news.traced) as followed:
            await self._answer(news, followed)

    async def _answer(self, news: News, followed: Followed) -> None:
        inbox, turns = self._inbox, self._lists.turns
        if self._held is not None and not inbox.calls_for(news) and inbox.causes.all_in(self._watermarks):
            await self._show(self._held, news)  # the list includes the events already: name them
            return
        lane = Lane.FIRST if self._held is None else Lane.EVENT if news.urgent else Lane.BULK
        if news.gone and self._held is not None and turns.busy(lane):
            # Many streams show the item: off with it first, the list is filled up when the turn comes.
            await self._show(self._lists.prune(self._held), News(since=news.since))
        due = time.monotonic()
        async with turns.turn(lane, inbox.hurry):
            if inbox.go_away_ms is not None:
                return
            later = inbox.take()
            news.add(later)
            followed.add(later.traced)
            known, ranked = await self._make(news, time.monotonic() - due)
            self._items.hold(inbox, ranked.rows)
        inbox.opened = True
        self._made_at = time.monotonic()
        self._degraded.made(inbox, known, ranked.slate)
        await self._show(ranked, news)

    async def _make(self, news: News, late: float) -> tuple[Known, Ranked]:
        """The profile, and the list that it leads to."""
        # What is announced from here on may be in the profile that is read, or not: causes tell by watermark.
        inbox = self._inbox
        seconds = self._settings.profile_wait_ms / 1000
        known = await self._lists.known(self._request.user_id, seconds, inbox.announced(news))
        if known.unavailable:
            inbox.lost()
            if self._held is not None and not self._held.slate.profile_unavailable:
                # A list that knew the user is better than one that does not, less what may not be shown any more.
                kept = self._lists.prune(self._held)
                if len(kept.rows):
                    return known, kept
        else:
            inbox.read(known.revision)
            self._watermarks = known.stored.profile.watermarks if known.stored else {}
            if not self._begun:
                self._begun = True
                if self._held is None:
                    inbox.causes.begin(self._watermarks)
                else:
                    self._missed = True  # opened without the profile: whatever it includes is news
        return known, await self._lists.for_stream(self._request, known, late)

    async def _show(self, ranked: Ranked, news: News) -> None:
        """Sends the list, if it is another or events made it."""
        self._missed |= news.missed
        named: list[frame_pb2.Cause] = []
        if self._held is not None and self._inbox.revision is not None:
            named = self._inbox.causes.take(self._watermarks, self._missed)
            self._missed = False
        list_digest = digest(self._request.user_id, ranked.slate)
        first, self._resumed = self._resumed, None
        version = self._lists.labels.version(ranked.slate.model_version)
        self._showing.shows(version)
        if self._held is None and first == list_digest:
            self._held, self._digest = ranked, list_digest
            await self._send(frame_pb2.Frame(heartbeat=frame_pb2.Heartbeat()), "heartbeat")
            return
        if list_digest == self._digest and not named:
            metrics.UNCHANGED.inc()
            return
        kind, frame = self._frame(ranked.slate)
        frame.caused_by.extend(named)
        frame.resume_token = resume_token(list_digest)
        fresh = self._held is None or self._held.slate.slate_id != ranked.slate.slate_id
        self._held, self._digest, self._whole = ranked, list_digest, True
        await self._send(frame, kind)
        self._token = frame.resume_token
        self._observe(news, named, version)
        if fresh:
            self._slates.sent(self._request, ranked.slate)

    def _frame(self, slate: slate_pb2.Slate) -> tuple[str, frame_pb2.Frame]:
        if self._deltas and self._whole and self._held is not None:
            return "delta", frame_pb2.Frame(delta=delta(self._held.slate, slate))
        return "snapshot", frame_pb2.Frame(snapshot=frame_pb2.Snapshot(slate=slate))

    async def _go_away(self, after_ms: int) -> None:
        frame = frame_pb2.Frame(
            go_away=frame_pb2.GoAway(reconnect_after_ms=after_ms), resume_token=self._token
        )
        await self._send(frame, "go_away")
        raise Draining(after_ms)

    async def _send(self, frame: frame_pb2.Frame, kind: str) -> None:
        self._sequence += 1
        frame.sequence = self._sequence
        try:
            with child("send frame", attributes={"recstream.frame": kind}):
                async with asyncio.timeout(self._settings.stuck_reader_seconds):
                    await self._write(frame)
        except TimeoutError as error:
            metrics.STUCK.inc()
            raise StuckReader(self._settings.stuck_reader_seconds) from error
        self._sent_at = time.monotonic()
        metrics.FRAMES_OF[kind].inc()

    def _observe(self, news: News, named: list[frame_pb2.Cause], version: str) -> None:
        if news.since:
            metrics.FRAME_SECONDS.observe(time.monotonic() - news.since)
        if named:
            seconds = metrics.EVENT_TO_FRAME_SECONDS.labels(self._surface, version)
            now_ms = time.time() * 1000
            for cause in named:
                if cause.record_time_ms:
                    seconds.observe(max(0.0, now_ms - cause.record_time_ms) / 1000)
