"""One open stream: makes a slate, sends it if it changed, and waits for news."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from inference.version_labels import version_label
from ranking.query import ListRequest
from ranking.slate.ranked import Ranked
from recstream.v1 import frame_pb2, slate_pb2
from server import metrics
from server.errors import Draining, SlowConsumer
from server.profiles.profile_reader import UNAVAILABLE, ProfileReader, ProfileSnapshot
from server.requests.ranking_limiter import Priority
from server.requests.slate_service import SlateService
from server.requests.view import View
from server.settings import ServerSettings
from server.streaming.frames import delta, digest
from server.streaming.item_watch import ItemWatch
from server.streaming.mailbox import Mailbox, News
from server.streaming.stream_gauge import StreamGauge
from server.streaming.tier_recovery import TierRecovery
from server.tokens.positions import Watermarks
from server.tokens.sealing import Sealer
from server.tokens.stream_place import StreamPlace, encode_place
from server.writes.slate_log import SlateLog
from telemetry.tracing.spans import Followed, SpanKind, child

Send = Callable[[frame_pb2.Frame], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Opening:
    """How a stream begins.

    Attributes:
        view: What the client sees of the lists.
        deltas: Whether the client accepts deltas.
        resumed: What the client has of an earlier stream. None: nothing.
        resume_token: The token that says so.
        includes_events: Returns whether a list of a profile includes the writes that the first one has to include.
            None: there are none.
    """

    view: View
    deltas: bool
    resumed: StreamPlace | None
    resume_token: str
    includes_events: Callable[[ProfileSnapshot], bool] | None


class Stream:
    """The loop of one stream.

    While it ranks or writes, news are merged in its mailbox. So at most one slate is being made or sent for it, and a
    slow client gets the newest slate when it reads again.

    Args:
        request: The request for lists.
        opening: How it begins.
        sealer: Makes resume tokens.
        send: Writes a frame to the client.
        mailbox: The mailbox of the stream.
        profile_reader: Reads the user's profile.
        slate_service: Makes slates.
        items: Watches the items of the slate.
        tier_recovery: Wakes streams when a better tier is available.
        slate_log: Records the sent slates.
        settings: Periods and time limits.
    """

    def __init__(
        self,
        *,
        request: ListRequest,
        opening: Opening,
        sealer: Sealer,
        send: Send,
        mailbox: Mailbox,
        profile_reader: ProfileReader,
        slate_service: SlateService,
        items: ItemWatch,
        tier_recovery: TierRecovery,
        slate_log: SlateLog,
        settings: ServerSettings,
    ) -> None:
        self._request = request
        self._view = opening.view
        self._sealer = sealer
        self._mailbox = mailbox
        self._profile_reader = profile_reader
        self._slate_service = slate_service
        self._items = items
        self._tier_recovery = tier_recovery
        self._slate_log = slate_log
        self._settings = settings
        self._write = send
        self._deltas = opening.deltas
        self._resumed = opening.resumed
        self._includes_events = opening.includes_events
        self._included: bool | None = None
        self._token = opening.resume_token if opening.resumed else ""
        self._sequence = 0
        self._held: Ranked | None = None  # The slate that the client has.
        # The same as this stream sent it. A delta needs it. None: the client has it from an earlier stream.
        self._shown: slate_pb2.Slate | None = None
        self._digest: bytes | None = None
        # The profile that was read last. A read that failed leaves the one before.
        self._snapshot = UNAVAILABLE
        self._begun = False
        self._missed = False
        self._gauge = StreamGauge()
        self._sent_at = time.monotonic()
        self._made_at = time.monotonic()
        self._rules_until_ms: int | None = None  # When other rules hold than for the slate.

    async def run(self) -> None:
        """Run until cancelled, or until the mailbox ends the stream.

        Raises:
            Draining: The stream is sent away. The client was sent a go-away frame.
            SlowConsumer: The client does not read.
        """
        try:
            await self._run()
        finally:
            self._gauge.clear()

    async def _run(self) -> None:
        await self._look()
        if len(self._mailbox.causes):
            await self._look()  # The next frame names events that were announced before the first one.
        while True:
            now = time.monotonic()
            heartbeat = self._sent_at + self._settings.heartbeat_seconds - now
            refresh = self._made_at + self._settings.refresh_seconds * random.uniform(0.8, 1.2) - now
            refresh = refresh if self._settings.refresh_seconds > 0 else math.inf
            rules = self._until_other_rules()
            woken = await self._mailbox.wait(min(heartbeat, refresh, rules))
            ending = self._mailbox.ending
            if self._mailbox.go_away_ms is not None:
                await self._go_away(self._mailbox.go_away_ms)
            elif woken:
                await self._look()
                if ending and self._mailbox.go_away_ms is None:
                    return
            elif rules <= min(heartbeat, refresh):
                self._rules_until_ms = None
                self._mailbox.look_again("rules")
            elif refresh <= heartbeat:
                self._mailbox.look_again("age")
            else:
                await self._send(frame_pb2.Frame(heartbeat=frame_pb2.Heartbeat()), "heartbeat")

    def _until_other_rules(self) -> float:
        """Seconds until a rule begins or ends to hold. Infinity: none does."""
        if self._rules_until_ms is None:
            return math.inf
        return (self._rules_until_ms - self._slate_service.now_ms()) / 1000

    async def _look(self) -> None:
        """Process the news, including those that arrive while waiting for a slot."""
        news = self._mailbox.take()
        with Followed("process announcement", SpanKind.CONSUMER, news.traced) as followed:
            await self._answer(news, followed)

    async def _answer(self, news: News, followed: Followed) -> None:
        mailbox, limiter = self._mailbox, self._slate_service.limiter
        if (
            self._held is not None
            and not mailbox.calls_for(news)
            and mailbox.causes.all_in(self._watermarks())
        ):
            await self._show(
                self._held, news
            )  # The slate already includes the events, so it only names them.
            return
        priority = Priority.FIRST if self._held is None else Priority.EVENT if news.urgent else Priority.BULK
        if news.gone and self._held is not None and limiter.busy(priority):
            # Many streams show the item. It is removed at once, and the slate is filled up once there is a slot.
            await self._show(self._slate_service.prune(self._held), News(since=news.since))
        due = time.monotonic()
        async with limiter.slot(priority, mailbox.hurry):
            if mailbox.go_away_ms is not None:
                return
            later = mailbox.take()
            news.add(later)
            followed.add(later.traced)
            snapshot, ranked = await self._make(news, time.monotonic() - due)
            self._items.watch(mailbox, ranked.rows)
        mailbox.opened = True
        self._made_at = time.monotonic()
        self._tier_recovery.on_slate(mailbox, snapshot, ranked.slate)
        await self._show(ranked, news)

    async def _make(self, news: News, late: float) -> tuple[ProfileSnapshot, Ranked]:
        """Read the profile, and make the slate."""
        # Events that are announced from here on may or may not be in the profile. Its watermarks say which are.
        mailbox = self._mailbox
        seconds = self._settings.profile_wait_ms / 1000
        snapshot = await self._profile_reader.snapshot(
            self._request.user_id, seconds, mailbox.announced(news)
        )
        if self._includes_events is not None and self._held is None:
            # What comes while the slate is made may or may not be in it.
            self._included = self._includes_events(snapshot)
        if snapshot.unavailable:
            mailbox.on_profile_unavailable()
            if self._held is not None and not self._held.slate.profile_unavailable:
                # The user's last slate, without items that may not be shown now, is better than a popular one.
                kept = self._slate_service.prune(self._held)
                if len(kept.rows):
                    return snapshot, kept
        else:
            mailbox.on_profile_read(snapshot.revision)
            self._snapshot = snapshot
            if not self._begun:
                self._begin()
        ranked = await self._slate_service.for_stream(self._request, snapshot, late)
        self._rules_until_ms = ranked.until_ms
        return snapshot, ranked

    def _begin(self) -> None:
        """Decide which events are news to the client, when the profile is read for the first time."""
        self._begun = True
        since = self._resumed.watermarks if self._resumed is not None else None
        if since is None and self._held is not None:
            since = {}  # The first slate had no profile, so all events in the profile are news.
        # What is news and not announced is found in the history, like events whose announcement was lost.
        self._missed |= since is not None
        self._mailbox.causes.begin(self._watermarks() if since is None else since)

    def _watermarks(self) -> Watermarks:
        stored = self._snapshot.stored
        return stored.profile.watermarks if stored is not None else {}

    async def _show(self, ranked: Ranked, news: News) -> None:
        """Send the slate if it differs from the client's, or if there are events to name."""
        self._missed |= news.missed
        named: list[frame_pb2.Cause] = []
        if (self._held is not None or self._missed) and self._mailbox.revision is not None:
            stored = self._snapshot.stored
            named = self._mailbox.causes.take(stored.profile if stored is not None else None, self._missed)
            self._missed = False
        shown = self._slate_service.show(ranked, self._view)
        slate_digest = digest(self._request.user_id, self._view.key, shown)
        version = version_label(ranked.slate.model_version, self._slate_service.versions())
        surface = self._slate_service.surfaces().known(self._request.surface)
        self._gauge.set(surface, version)
        resumed = (
            self._held is None and self._resumed is not None and self._resumed.list_digest == slate_digest
        )
        if resumed and not named:
            self._held, self._digest = ranked, slate_digest
            await self._send(self._first(frame_pb2.Frame(heartbeat=frame_pb2.Heartbeat())), "heartbeat")
            return
        if slate_digest == self._digest and not named:
            metrics.UNCHANGED.inc()
            return
        kind, frame = self._frame(shown)
        frame.caused_by.extend(named)
        place = StreamPlace(slate_digest, self._watermarks() if self._begun else None)
        frame.resume_token = encode_place(place, self._request.user_id, self._sealer)
        fresh = self._held is None or self._held.slate.slate_id != ranked.slate.slate_id
        if self._held is None:
            self._first(frame)
        self._held, self._shown, self._digest = ranked, shown, slate_digest
        await self._send(frame, kind)
        self._token = frame.resume_token
        self._observe(news, named, surface, version)
        if fresh:
            self._slate_log.sent(self._request, ranked)

    def _first(self, frame: frame_pb2.Frame) -> frame_pb2.Frame:
        """Return the first frame, which says whether it includes what it waited for."""
        if self._included is not None:
            frame.includes_events = self._included
        return frame

    def _frame(self, slate: slate_pb2.Slate) -> tuple[str, frame_pb2.Frame]:
        if self._deltas and self._shown is not None:
            return "delta", frame_pb2.Frame(delta=delta(self._shown, slate))
        return "snapshot", frame_pb2.Frame(snapshot=frame_pb2.Snapshot(slate=slate))

    async def _go_away(self, after_ms: int) -> None:
        frame = frame_pb2.Frame(go_away=frame_pb2.GoAway(), resume_token=self._token)
        frame.go_away.reconnect_after.FromMilliseconds(after_ms)
        await self._send(frame, "go_away")
        raise Draining(after_ms)

    async def _send(self, frame: frame_pb2.Frame, kind: str) -> None:
        self._sequence += 1
        frame.sequence = self._sequence
        try:
            with child("send frame", attributes={"recstream.frame": kind}):
                async with asyncio.timeout(self._settings.slow_consumer_seconds):
                    await self._write(frame)
        except TimeoutError as error:
            metrics.SLOW_CONSUMERS.inc()
            raise SlowConsumer(self._settings.slow_consumer_seconds) from error
        self._sent_at = time.monotonic()
        metrics.FRAMES_OF[kind].inc()

    def _observe(self, news: News, named: list[frame_pb2.Cause], surface: str, version: str) -> None:
        if news.since:
            metrics.FRAME_SECONDS.observe(time.monotonic() - news.since)
        if named:
            seconds = metrics.EVENT_TO_FRAME_SECONDS.labels(surface, version)
            now_ms = time.time() * 1000
            for cause in named:
                if cause.HasField("record_time"):
                    seconds.observe(max(0.0, now_ms - cause.record_time.ToMilliseconds()) / 1000)
