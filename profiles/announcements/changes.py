"""Hearing of every write of the profiles that somebody watches."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, Self

import structlog
from glide import PubSubMsg
from google.protobuf.message import DecodeError

from profiles.announcements.announcements import Announcement, decode_announcement
from profiles.announcements.watch import Callback, Watch
from profiles.errors import StoreUnavailable
from profiles.metrics import ANNOUNCEMENTS, RECONNECTS, WATCHED
from profiles.settings import StoreSettings
from profiles.store.connection import Client, Connection
from profiles.store.keys import Keys
from profiles.store.servers import client_ids, join, leave, ping_any, run_ids, subscriptions
from telemetry.background import BackgroundTask, OnFailure

__all__ = ["Announcement", "Callback", "Changes"]

log = structlog.get_logger()

_AT_ONCE: Final = 10_000
_DOUBT_SECONDS: Final = 0.1


class Changes:
    """Subscriptions to announcements, on a connection of their own.

    Announcements can be lost: whenever the connection was made anew, and subscriptions that were missing are
    confirmed, `generation` goes up and `on_reconnect` is called, and whoever watches has to read again. A lost
    connection is noticed within the probe's interval, and a subscription is back within about two of them of
    the server's return.

    What is due at once is one request: thousands of watches cost as much as a few.
    """

    def __init__(self, settings: StoreSettings, on_reconnect: Callable[[], None] | None) -> None:
        self._settings = settings
        self._keys = Keys(settings.key_prefix)
        self._connection = Connection(settings, self._heard)
        self._on_reconnect = on_reconnect
        self._watches: dict[bytes, Watch] = {}
        self._unconfirmed: set[bytes] = set()
        self._idle: set[bytes] = set()
        self._work = asyncio.Event()
        self._known: tuple[str, str] | None = None
        self._renewals = 0
        self._doubt = False
        self.generation = 0

    @classmethod
    async def connect(cls, settings: StoreSettings, on_reconnect: Callable[[], None] | None = None) -> Self:
        """Changes that connect with the first request: the store need not be up yet. They are heard while the tasks
        of `background` run."""
        changes = cls(settings, on_reconnect)
        await changes._connection.open()
        return changes

    def background(self) -> tuple[BackgroundTask, ...]:
        """What keeps the subscriptions. The probe is a task of its own, so that it waits for a dead server and no
        subscription waits with it."""
        return (
            BackgroundTask("profile-subscriptions", partial(self._again, self._subscribe), OnFailure.RETRY),
            BackgroundTask("profile-probe", partial(self._again, self._probe), OnFailure.RETRY),
        )

    async def close(self) -> None:
        """Ends all subscriptions; nobody is called any more. End the tasks of `background` first."""
        self._watches.clear()
        self._unconfirmed.clear()
        self._idle.clear()
        WATCHED.set(0)
        await self._connection.close()

    async def watch(self, user_id: str, callback: Callback) -> bool:
        """Calls back with every announcement of the user, until `unwatch`; within the event loop, so briefly.

        True: the subscription is confirmed, and a profile that is read from now on misses nothing. False: the
        store does not answer. The watch stands all the same: when it is confirmed, it is called back with an
        announcement of revision 0, so that the profile is read. Cancelled, it leaves no watch behind.
        """
        channel = self._keys.channel(user_id)
        key = channel.encode()
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(user_id, channel)
            WATCHED.set(len(self._watches))
        watch.callbacks.append(callback)
        self._idle.discard(key)
        if not watch.confirmed:
            self._unconfirmed.add(key)
            self._work.set()
            try:
                await asyncio.wait({watch.confirmation}, timeout=self._settings.request_timeout_ms / 1000)
            except asyncio.CancelledError:
                await self.unwatch(user_id, callback)
                raise
            watch.late |= not watch.confirmed
        return watch.confirmed

    async def unwatch(self, user_id: str, callback: Callback) -> None:
        """Stops calling back. Does not wait for the server; unknown watches do no harm."""
        key = self._keys.channel(user_id).encode()
        watch = self._watches.get(key)
        if watch is None or callback not in watch.callbacks:
            return
        watch.callbacks.remove(callback)
        if watch.callbacks:
            return
        if watch.joined:
            self._idle.add(key)
            self._work.set()
        else:
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        self._unconfirmed.discard(key)
        self._idle.discard(key)
        del self._watches[key]
        WATCHED.set(len(self._watches))

    def _heard(self, message: PubSubMsg) -> None:
        channel = message.channel
        watch = self._watches.get(channel if isinstance(channel, bytes) else channel.encode())
        if watch is None:
            return
        payload = message.message
        ANNOUNCEMENTS.inc()
        try:
            announcement = decode_announcement(
                watch.user_id, payload if isinstance(payload, bytes) else payload.encode()
            )
        except DecodeError:
            log.warning("announcement_corrupt", user_id=watch.user_id)
            return
        watch.call(announcement)

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable:
                # What is not done stays to be done.
                self._doubt = True
                await asyncio.sleep(_DOUBT_SECONDS)
            except Exception:
                self._doubt = True
                raise

    async def _subscribe(self) -> None:
        pause = _DOUBT_SECONDS if self._unconfirmed else None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._work.wait()
        self._work.clear()
        await self._unsubscribe_idle()
        await self._subscribe_unconfirmed()

    async def _unsubscribe_idle(self) -> None:
        # Before subscribing, and waited for: an unsubscription on its way must not meet a new subscription.
        while self._idle:
            keys = [self._idle.pop() for _ in range(min(len(self._idle), _AT_ONCE))]
            left = [self._watches[key] for key in keys]
            for watch in left:
                watch.forget_confirmation()

            async def request(client: Client, left: list[Watch] = left) -> None:
                for watch in left:
                    watch.joined = False  # from here on the client wants none of them, answer or not
                await leave({watch.channel for watch in left}, self._settings.request_timeout_ms, client)

            try:
                await self._connection.ask("unsubscribe", request)
            finally:
                for key, watch in zip(keys, left, strict=True):
                    self._after_leaving(key, watch)

    def _after_leaving(self, key: bytes, watch: Watch) -> None:
        if watch.callbacks:  # watched again meanwhile
            self._unconfirmed.add(key)
            self._work.set()
        elif watch.joined:
            self._idle.add(key)
        else:
            self._forget(key)

    async def _subscribe_unconfirmed(self) -> None:
        fresh = {
            key: watch
            for key in self._unconfirmed
            if (watch := self._watches[key]).callbacks and not watch.joined
        }

        async def request(client: Client) -> None:
            for watch in fresh.values():
                watch.joined = True  # from here on the client tries by itself, answer or not
            await join({watch.channel for watch in fresh.values()}, self._settings.request_timeout_ms, client)

        try:
            if fresh:
                await self._connection.ask("subscribe", request)
                for key in fresh:
                    self._confirm(key)
        finally:
            # Where a part of the cluster is down, the others' subscriptions are there all the same.
            if any(self._watches[key].joined for key in self._unconfirmed):
                heard = await self._connection.ask("list subscriptions", subscriptions)
                for key in tuple(self._unconfirmed):
                    if self._watches[key].joined and self._watches[key].channel in heard:
                        self._confirm(key)

    def _confirm(self, key: bytes) -> None:
        watch = self._watches[key]
        self._unconfirmed.discard(key)
        if not watch.confirmed:
            watch.confirmation.set_result(None)
        if watch.late:
            watch.late = False
            watch.call(Announcement(watch.user_id, 0, 0, quiet=False, applied=()))

    async def _probe(self) -> None:
        interval = self._settings.probe_interval_ms / 1000
        await self._find_out()
        await asyncio.sleep(min(_DOUBT_SECONDS, interval) if self._doubt else interval)

    async def _find_out(self) -> None:
        """Whether announcements may have been missed; if so it tells, once they are heard again."""
        if self._renewals != self._connection.renewals:
            self._renewals = self._connection.renewals
            self._doubt = True
            for key, watch in self._watches.items():
                watch.joined = False
                watch.forget_confirmation()
                self._unconfirmed.add(key)
            self._work.set()
        known = await self._names()
        if self._known is not None and known != self._known:
            self._doubt = True
        self._known = known
        if self._doubt and await self._all_are_heard():
            self._doubt = False
            self._read_again()

    async def _names(self) -> tuple[str, str]:
        """Who the servers are, and which connections to them these are."""
        try:
            return (
                await self._connection.ask("name itself", run_ids, affects_breaker=False),
                await self._connection.ask("name the connection", client_ids, affects_breaker=False),
            )
        except StoreUnavailable:
            # One server of a cluster may be down, and the others be well.
            await self._connection.ask("answer a ping", ping_any)
            raise

    async def _all_are_heard(self) -> bool:
        if not self._watches:
            return True
        heard = await self._connection.ask("list subscriptions", subscriptions)
        return all(watch.channel in heard for watch in self._watches.values() if watch.callbacks)

    def _read_again(self) -> None:
        self.generation += 1
        RECONNECTS.inc()
        log.info("announcements_reconnected", generation=self.generation, watched=len(self._watches))
        if self._on_reconnect is not None:
            try:
                self._on_reconnect()
            except Exception:
                log.exception("reconnect_callback_failed")
