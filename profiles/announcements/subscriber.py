"""Subscriptions to the announcements of watched profiles."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, Self

import structlog
from glide import PubSubMsg
from google.protobuf.message import DecodeError

from profiles.announcements.announcement import Announcement, decode_announcement
from profiles.announcements.watch import Callback, Watch
from profiles.errors import StoreUnavailable
from profiles.metrics import ANNOUNCEMENTS, RECONNECTS, WATCHED
from profiles.settings import StoreSettings
from profiles.store.connection import Client, Connection
from profiles.store.keys import Keys
from profiles.store.servers import client_ids, ping_any, run_ids, subscribe, subscriptions, unsubscribe
from telemetry.background import BackgroundTask, OnFailure

__all__ = ["Announcement", "AnnouncementSubscriber", "Callback"]

log = structlog.get_logger()

_MAX_CHANNELS: Final = 10_000
_RETRY_SECONDS: Final = 0.1


class AnnouncementSubscriber:
    """Subscribes to the announcements of watched users, on a connection of its own.

    Announcements can be lost with a connection. After each reconnect, once all subscriptions are confirmed again,
    `generation` grows and `on_reconnect` is called. Watchers then have to read their profiles again. A lost connection
    is noticed within `probe_interval_ms`. After the server returns, subscriptions are active again within about two of
    these intervals.

    Subscriptions are batched, so thousands of watches cost about as much as a few.
    """

    def __init__(self, settings: StoreSettings, on_reconnect: Callable[[], None] | None) -> None:
        self._settings = settings
        self._keys = Keys(settings.key_prefix)
        self._connection = Connection(settings, self._on_message)
        self._on_reconnect = on_reconnect
        self._watches: dict[bytes, Watch] = {}
        self._unconfirmed: set[bytes] = set()
        self._unwatched: set[bytes] = set()
        self._wake = asyncio.Event()
        self._known: tuple[str, str] | None = None
        self._renewals = 0
        self._may_have_missed = False
        self.generation = 0

    @classmethod
    async def connect(cls, settings: StoreSettings, on_reconnect: Callable[[], None] | None = None) -> Self:
        """Creates a subscriber. It connects with its first request, so the store need not be up yet. It works while the
        tasks of `background` run."""
        subscriber = cls(settings, on_reconnect)
        await subscriber._connection.open()
        return subscriber

    def background(self) -> tuple[BackgroundTask, ...]:
        """The tasks that maintain the subscriptions. The probe is a separate task, so that it does not delay
        subscriptions while it waits for a dead server."""
        return (
            BackgroundTask(
                "profile-subscriptions", partial(self._until_failure, self._subscribe), OnFailure.RETRY
            ),
            BackgroundTask("profile-probe", partial(self._until_failure, self._probe), OnFailure.RETRY),
        )

    async def close(self) -> None:
        """Ends all subscriptions. No callback is called afterwards. End the tasks of `background` first."""
        self._watches.clear()
        self._unconfirmed.clear()
        self._unwatched.clear()
        WATCHED.set(0)
        await self._connection.close()

    async def watch(self, user_id: str, callback: Callback) -> bool:
        """Calls `callback` with every announcement of the user, until `unwatch`. A cancelled call leaves no watch
        behind.

        Args:
            user_id: The user.
            callback: Called in the event loop, so it must be brief.

        Returns:
            Whether the subscription is confirmed. If it is, no change after a read of the profile is missed. If it is
            not, the store does not answer. The watch stays, and once it is confirmed, the callback gets an announcement
            of revision 0, after which the profile must be read.
        """
        channel = self._keys.channel(user_id)
        key = channel.encode()
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(user_id, channel)
            WATCHED.set(len(self._watches))
        watch.callbacks.append(callback)
        self._unwatched.discard(key)
        if not watch.confirmed:
            self._unconfirmed.add(key)
            self._wake.set()
            try:
                await asyncio.wait({watch.confirmation}, timeout=self._settings.request_timeout_ms / 1000)
            except asyncio.CancelledError:
                await self.unwatch(user_id, callback)
                raise
            watch.late |= not watch.confirmed
        return watch.confirmed

    async def unwatch(self, user_id: str, callback: Callback) -> None:
        """Stops calling `callback`. It does not wait for the server. Unknown watches are ignored."""
        key = self._keys.channel(user_id).encode()
        watch = self._watches.get(key)
        if watch is None or callback not in watch.callbacks:
            return
        watch.callbacks.remove(callback)
        if watch.callbacks:
            return
        if watch.joined:
            self._unwatched.add(key)
            self._wake.set()
        else:
            self._remove(key)

    def _remove(self, key: bytes) -> None:
        self._unconfirmed.discard(key)
        self._unwatched.discard(key)
        del self._watches[key]
        WATCHED.set(len(self._watches))

    def _on_message(self, message: PubSubMsg) -> None:
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

    async def _until_failure(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable:
                self._may_have_missed = True
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                self._may_have_missed = True
                raise

    async def _subscribe(self) -> None:
        pause = _RETRY_SECONDS if self._unconfirmed else None
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
        self._wake.clear()
        await self._unsubscribe_unwatched()
        await self._subscribe_unconfirmed()

    async def _unsubscribe_unwatched(self) -> None:
        # Finishes before subscribing begins, so that a late unsubscription cannot undo a new subscription.
        while self._unwatched:
            keys = [self._unwatched.pop() for _ in range(min(len(self._unwatched), _MAX_CHANNELS))]
            left = [self._watches[key] for key in keys]
            for watch in left:
                watch.reset_confirmation()

            async def request(client: Client, left: list[Watch] = left) -> None:
                for watch in left:
                    watch.joined = False  # The client drops them from here on, even without an answer.
                await unsubscribe(
                    {watch.channel for watch in left}, self._settings.request_timeout_ms, client
                )

            try:
                await self._connection.ask("unsubscribe", request)
            finally:
                for key, watch in zip(keys, left, strict=True):
                    self._after_leaving(key, watch)

    def _after_leaving(self, key: bytes, watch: Watch) -> None:
        if watch.callbacks:  # It was watched again meanwhile.
            self._unconfirmed.add(key)
            self._wake.set()
        elif watch.joined:
            self._unwatched.add(key)
        else:
            self._remove(key)

    async def _subscribe_unconfirmed(self) -> None:
        fresh = {
            key: watch
            for key in self._unconfirmed
            if (watch := self._watches[key]).callbacks and not watch.joined
        }

        async def request(client: Client) -> None:
            for watch in fresh.values():
                watch.joined = True  # The client retries by itself from here on, even without an answer.
            await subscribe(
                {watch.channel for watch in fresh.values()}, self._settings.request_timeout_ms, client
            )

        try:
            if fresh:
                await self._connection.ask("subscribe", request)
                for key in fresh:
                    self._confirm(key)
        finally:
            # If a part of the cluster is down, the other parts still confirm their subscriptions.
            if any(self._watches[key].joined for key in self._unconfirmed):
                confirmed = await self._connection.ask("list subscriptions", subscriptions)
                for key in tuple(self._unconfirmed):
                    if self._watches[key].joined and self._watches[key].channel in confirmed:
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
        await self._check_connection()
        await asyncio.sleep(min(_RETRY_SECONDS, interval) if self._may_have_missed else interval)

    async def _check_connection(self) -> None:
        """Detects that announcements may have been missed, and reports it once all subscriptions are confirmed."""
        if self._renewals != self._connection.renewals:
            self._renewals = self._connection.renewals
            self._may_have_missed = True
            for key, watch in self._watches.items():
                watch.joined = False
                watch.reset_confirmation()
                self._unconfirmed.add(key)
            self._wake.set()
        known = await self._connection_names()
        if self._known is not None and known != self._known:
            self._may_have_missed = True
        self._known = known
        if self._may_have_missed and await self._all_confirmed():
            self._may_have_missed = False
            self._ask_to_read_again()

    async def _connection_names(self) -> tuple[str, str]:
        """The ids of the servers, and of the connections to them."""
        try:
            return (
                await self._connection.ask("name itself", run_ids, affects_breaker=False),
                await self._connection.ask("name the connection", client_ids, affects_breaker=False),
            )
        except StoreUnavailable:
            # One server of a cluster may be down while the others are up.
            await self._connection.ask("answer a ping", ping_any)
            raise

    async def _all_confirmed(self) -> bool:
        if not self._watches:
            return True
        confirmed = await self._connection.ask("list subscriptions", subscriptions)
        return all(watch.channel in confirmed for watch in self._watches.values() if watch.callbacks)

    def _ask_to_read_again(self) -> None:
        self.generation += 1
        RECONNECTS.inc()
        log.info("announcements_reconnected", generation=self.generation, watched=len(self._watches))
        if self._on_reconnect is not None:
            try:
                self._on_reconnect()
            except Exception:
                log.exception("reconnect_callback_failed")
