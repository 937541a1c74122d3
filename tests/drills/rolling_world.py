"""A rolling restart of the chart's servers on one machine, and its effects on the users of open streams.

A pod is a process with the command, environment, settings and probes that the chart renders, on its own loopback
address. A name server on loopback replaces the headless Service.
"""

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from local.servers.ports import free_port
from local.servers.process import Process
from local.stack import Stack
from recstream.client import Client, Recommendations, RecstreamError
from recstream.client.events import new_event_id
from tests.drills.headless_dns import HeadlessService
from tests.helm.chart import of, pod, rendered
from tests.helm.cluster import Cluster, probe

_START_SECONDS = 120
_OPENING_SECONDS = 5


@dataclass
class Pod:
    """A server. `left_seconds` is the time from SIGTERM to its end."""

    host: str
    process: Process
    left_seconds: float | None = None


class Deployment:
    """The chart's Deployment of servers for a running stack, whose own server is not used."""

    def __init__(self, stack: Stack, folder: Path, service: HeadlessService, **server: object) -> None:
        grpc = free_port()
        self._ports = {"grpc": grpc, "http": free_port(frozenset({grpc}))}
        settings = stack.settings
        triton, triton_port = (
            "rel-recstream-triton.shop.svc.cluster.local",
            stack.address("triton").rsplit(":")[-1],
        )
        values = {
            "kafka": {
                "bootstrap": settings.kafka.bootstrap,
                "topicPrefix": settings.kafka.topic_prefix,
                "bundled": {"enabled": False},
            },
            "valkey": {"addresses": list(settings.store.addresses), "bundled": {"enabled": False}},
            "config": {"store": {"key_prefix": settings.store.key_prefix}},
            "triton": {"ports": {"grpc": int(triton_port)}},
            "server": {"ports": self._ports, "tokenKeys": {"existingSecret": "tokens"}, **server},
        }
        folder.mkdir(parents=True)
        key = base64.b64encode(os.urandom(32)).decode()
        self._cluster = Cluster(
            rendered(values=values), folder, {triton: "127.0.0.1"}, {"tokens": {"keys": f"1:{key}"}}
        )
        self._spec = of(self._cluster.objects, "Deployment", "server")["spec"]
        assert self._spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        template = pod(of(self._cluster.objects, "Deployment", "server"))["spec"]
        self._container = template["containers"][0]
        self.grace_seconds: float = template["terminationGracePeriodSeconds"]
        self.pre_stop_seconds: float = self._container["lifecycle"]["preStop"]["sleep"]["seconds"]
        self._service = service
        self._hosts = (f"127.0.0.{number}" for number in count(11))
        self.pods: list[Pod] = []
        self.gone: list[Pod] = []

    @classmethod
    @asynccontextmanager
    async def running(cls, stack: Stack, folder: Path, **server: object) -> "AsyncIterator[Deployment]":
        """Yields the Deployment with ready replicas. `server`: values of the chart."""
        port = free_port()
        async with HeadlessService.listening(port) as service:
            deployment = cls(stack, folder, service, **server)
            deployment.target = (
                f"dns://127.0.0.1:{port}/recstream-server-headless:{deployment._ports['grpc']}"
            )
            try:
                for _ in range(deployment._spec["replicas"]):
                    await deployment._start()
                yield deployment
            finally:
                for each in (*deployment.pods, *deployment.gone):
                    each.process.kill()

    target = ""
    """The target that clients call, as in a cluster."""

    async def roll(self) -> None:
        """Replaces all pods. A new pod starts. When it has been ready for `minReadySeconds`, an old one ends, and the
        next new one starts meanwhile."""
        async with asyncio.TaskGroup() as going:
            for old in list(self.pods):
                await self._start()
                await asyncio.sleep(self._spec["minReadySeconds"])
                going.create_task(self._end(old))

    async def _start(self) -> None:
        host = next(self._hosts)
        process = Process(f"server-{host}", self._cluster.folder / f"server-{host}.log")
        # Each pod has its own address on loopback.
        environment = {**self._cluster.environment("Deployment", "server"), "RECSTREAM_SERVER__HOST": host}
        process.spawn(self._cluster.command(self._container), environment, self._cluster.folder / "tmp")
        self.pods.append(Pod(host, process))
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            await process.ready(
                lambda name=name: probe(self._container[name], self._ports, host), _START_SECONDS
            )
        self._service.ready.append(host)

    async def _end(self, old: Pod) -> None:
        self.pods.remove(old)
        self.gone.append(old)
        self._service.ready.remove(old.host)
        await asyncio.sleep(self.pre_stop_seconds)
        begun = time.monotonic()
        assert old.process.pid is not None
        os.kill(old.process.pid, signal.SIGTERM)
        await old.process.wait(self.grace_seconds - self.pre_stop_seconds)
        old.left_seconds = time.monotonic() - begun


@dataclass
class Viewer:
    """A user with an open stream, who likes the first item of the list, which then has to leave the list.

    The user acts at intervals, and at once when the stream breaks, so that there is an event during each break.

    Attributes:
        gaps: For each event, when it was accepted, and how many seconds later a list came that includes it.
        breaks: The errors that broke the stream, which the client opened again.
        errors: The errors that the client raised.
    """

    client: Client
    user_id: str
    every_seconds: float
    after_seconds: float
    gaps: list[tuple[float, float]] = field(default_factory=list)
    breaks: list[RecstreamError] = field(default_factory=list)
    errors: list[RecstreamError] = field(default_factory=list)
    last: Recommendations | None = None
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _broke: asyncio.Event = field(default_factory=asyncio.Event)
    _waits_for: tuple[str, str] | None = None
    _seen_at: float = 0.0

    async def watch(self) -> None:
        """Watches the list until it is cancelled. It waits before it begins, because a new channel knows only one
        server yet, which would get all streams."""
        await asyncio.sleep(self.after_seconds)
        try:
            async for lists in self.client.stream(self.user_id, count=10, deltas=True, on_retry=self._broken):
                self.last = lists
                if self._waits_for is not None and includes(lists, *self._waits_for):
                    self._waits_for, self._seen_at = None, time.monotonic()
                self._came.set()
        except RecstreamError as error:
            self.errors.append(error)

    async def act(self, until: asyncio.Event) -> None:
        """Acts until the event is set and the list includes the user's last action."""
        await self._next()
        while not until.is_set():
            assert self.last is not None
            event_id, item_id = new_event_id(), self.last.item_ids[0]
            self._waits_for = event_id, item_id
            try:
                await self.client.record(self.user_id, item_id, "like", event_id=event_id)
            except RecstreamError as error:
                self.errors.append(error)
                return
            accepted = time.monotonic()
            while self._waits_for is not None:
                await self._next()
            self.gaps.append((accepted, max(0.0, self._seen_at - accepted)))
            try:
                async with asyncio.timeout(self.every_seconds):
                    await self._broke.wait()
                self._broke.clear()
            except TimeoutError:
                pass

    async def _next(self) -> None:
        self._came.clear()
        await self._came.wait()

    def _broken(self, error: RecstreamError, pause: float) -> None:
        self.breaks.append(error)
        self._broke.set()


def includes(lists: Recommendations, event_id: str, item_id: str) -> bool:
    """Whether the list includes the event. The first list of a connection names no events."""
    named = lists.sequence == 1 or any(cause.event_id in ("", event_id) for cause in lists.causes)
    return named and item_id not in lists.item_ids


@asynccontextmanager
async def viewers(target: str, number: int, every_seconds: float) -> AsyncIterator[list[Viewer]]:
    """Yields so many users with open lists. They act inside the block, and at the end until their lists include every
    action."""
    ended = asyncio.Event()
    async with Client(target) as client:
        found = [
            Viewer(client, f"viewer-{place}", every_seconds, _OPENING_SECONDS * place / number)
            for place in range(number)
        ]
        watching = [asyncio.create_task(viewer.watch()) for viewer in found]
        acting = [asyncio.create_task(viewer.act(ended)) for viewer in found]
        try:
            yield found
            ended.set()
            done, late = await asyncio.wait(acting, timeout=60)
            assert not late, f"{len(late)} lists never included the last action"
            for task in done:
                task.result()
        finally:
            for task in (*acting, *watching):
                task.cancel()
            await asyncio.gather(*acting, *watching, return_exceptions=True)


def longest(watched: list[Viewer], begun: float, ended: float) -> Iterator[float]:
    """Returns the longest gap of each user, in seconds, among events accepted between the two times
    (time.monotonic())."""
    for viewer in watched:
        yield max((gap for accepted, gap in viewer.gaps if begun <= accepted < ended), default=0.0)
