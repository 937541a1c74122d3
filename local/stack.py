"""Runs the whole system on one machine: servers from packages, ingest, and the recstream server, as child processes."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

from catalog.version_watcher import read_versions
from configuration.settings import Settings, environment_of
from inference.bundle.bundle import MANIFEST, Manifest, read
from inference.errors import BundleRefused, InstallFailed
from inference.repository.repository import install, versions
from local.errors import BundleUnusable, FolderInUse, LocalError, PartNotStarted
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import choose
from local.servers.process import Process
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
from local.service import Service
from local.supervision import Supervision
from local.token_keys import stored_token_keys
from rollout.bundle_folder import stored_versions
from rollout.publisher import Publisher
from topics.create import check_topics, create_topics

Report = Callable[[str, str], None]


class Part(Protocol):
    """A child process of the stack: an embedded server, ingest, or the server."""

    process: Process

    @property
    def address(self) -> str:
        """host:port for its clients."""

    async def start(self) -> None:
        """Starts the process and waits until it is ready."""

    async def stop(self) -> None:
        """Stops the process gracefully."""

    def kill(self) -> None:
        """Sends SIGKILL."""


class Stack:
    """Kafka, Valkey and Triton, then ingest and the server, each a child process.

    Use it from the main thread, because children die with the thread that started them.

    Attributes:
        folder: Data, logs and ports. Only one stack at a time can use a folder.
        parts: The child processes by name. Each needs only those before it, and can be stopped, killed and started by
            name.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        kafka: str | None = None,
        valkey: str | None = None,
        triton: str | None = None,
        consumers: int = 1,
        report: Report = lambda part, text: None,
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: The settings of all processes. The stack fills in addresses and folders that are not set.
            folder: Data, logs and ports.
            kafka: host:port of a running Kafka. None: start one.
            valkey: host:port of a running Valkey, or several separated by commas. None: start one.
            triton: host:port of a running Triton. None: start one.
            consumers: Number of ingest processes.
            report: Called with the name of a part and a message about it.
        """
        self.folder = folder.absolute()
        self.parts: dict[str, Part] = {}
        self._report = report
        self._consumers = consumers
        self._lock: IO[str] | None = None
        self._supervision = Supervision(report)
        self._given = {"kafka": kafka, "valkey": valkey, "triton": triton}
        bundle = settings.bundle if "bundle" in settings.model_fields_set else self.folder / "bundle"
        bundles = settings.bundles if "bundles" in settings.model_fields_set else self.folder / "bundles"
        repository = settings.repository if triton else self.folder / "models"
        paths: dict[str, object] = {"bundle": bundle.absolute(), "bundles": bundles.absolute()}
        # Children run in different folders, but all write to this file.
        traces = settings.tracing.file.absolute()
        paths["tracing"] = settings.tracing.model_copy(update={"file": traces})
        if repository is not None:
            paths["repository"] = repository.absolute()
        self._settings = settings.model_copy(update=paths)

    @property
    def settings(self) -> Settings:
        """The settings with the addresses of this stack, for clients in this process. Valid once it is started."""
        chosen = self._settings
        kafka = chosen.kafka.model_copy(update={"bootstrap": self.address("kafka")})
        store = chosen.store.model_copy(update={"addresses": tuple(self.address("valkey").split(","))})
        triton = chosen.triton.model_copy(update={"address": self.address("triton")})
        return chosen.model_copy(update={"kafka": kafka, "store": store, "triton": triton})

    def address(self, name: str) -> str:
        """Returns host:port of a part, or of the running server that was given instead."""
        return self._given.get(name) or self.parts[name].address

    async def start(self) -> None:
        """Starts the servers, all at once, and then the parts that need them. Stops everything after a failure or a
        cancellation.

        Raises LocalError, with the end of the failing part's log; RolloutError; TopicsError.
        """
        self._take_folder()
        try:
            await self._start_servers()
            await self._make_topics()
            await self._publish_first()
            await self._start_all(self._services())
        except BaseException:
            await self.stop()
            raise

    async def start_part(self, name: str) -> None:
        """Starts one part and waits until it is ready. Raises PartNotStarted."""
        part = self.parts[name]
        self._report(name, "starting")
        try:
            await self._supervision.start(name, part)
        except LocalError as error:
            raise PartNotStarted(name, error) from error
        self._report(name, f"ready at {part.address}")

    async def stop_part(self, name: str) -> None:
        """Stops one part gracefully. It stays stopped until `start_part`."""
        await self._supervision.stop(name, self.parts[name])

    def kill_part(self, name: str) -> None:
        """Sends SIGKILL to one part. `supervise` restarts it. Without `supervise`, call `start_part`."""
        self.parts[name].kill()

    async def supervise(self) -> None:
        """Restarts parts that die, until it is cancelled. Raises PartKeepsDying."""
        await self._supervision.watch(self.parts)

    async def stop(self) -> None:
        """Stops all parts, in the reverse order of the start. When it returns, none of them runs."""
        try:
            for name in reversed(self.parts):
                if self.parts[name].process.running:
                    self._report(name, "stopping")
                await self.stop_part(name)
        finally:
            self.kill()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def kill(self) -> None:
        """Sends SIGKILL to all parts."""
        for part in reversed(self.parts.values()):
            part.kill()

    async def __aenter__(self) -> Self:
        """Starts all parts."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops all parts."""
        await self.stop()

    async def _start_servers(self) -> None:
        self._check_bundle()
        servers: dict[str, Part] = {
            "kafka": EmbeddedKafka(self.folder / "kafka"),
            "valkey": EmbeddedValkey(self.folder / "valkey"),
            "triton": EmbeddedTriton(self.folder / "models", self.folder / "triton"),
        }
        await self._start_all({name: part for name, part in servers.items() if not self._given[name]})

    async def _start_all(self, parts: Mapping[str, Part]) -> None:
        """Starts parts that do not need each other. Raises PartNotStarted for the first one that fails."""
        self.parts.update(parts)
        try:
            async with asyncio.TaskGroup() as starts:
                for name in parts:
                    starts.create_task(self.start_part(name), name=f"start {name}")
        except BaseExceptionGroup as failed:
            refused, others = failed.split(PartNotStarted)
            # The group is the error's context already. As its cause it would add nothing.
            raise refused.exceptions[0] if refused and not others else failed  # noqa: B904

    def _check_bundle(self) -> None:
        """Checks the bundle, if no version is published yet. Installs it into the repository of our own Triton, so that
        Triton starts with it. Raises BundleUnusable."""
        if stored_versions(self._settings.bundles):
            return
        try:
            bundle = read(self._settings.bundle)
            if not self._given["triton"] and not versions(self.folder / "models"):
                install(bundle, self.folder / "models")
        except (BundleRefused, InstallFailed) as error:
            raise BundleUnusable(error) from error

    async def _publish_first(self) -> None:
        """Publishes the bundle if no version is published. `recstream model publish` publishes later ones."""
        settings = self.settings
        record = await read_versions(settings.kafka)
        live = [each.version for each in (record.base, record.next) if each.version]
        if not live:
            async with Publisher(settings) as publisher:
                await publisher.publish_first(settings.bundle)
                live = publisher.live
            self._report("model", f"version {live[0]} is published")
        elif (other := _version(settings.bundle)) and other not in live:
            self._report(
                "model",
                f"version {other} in {settings.bundle} is not served: publish it with `recstream model publish`",
            )

    async def _make_topics(self) -> None:
        """Creates missing topics, and reports problems of the others. Raises TopicsError."""
        settings = self.settings
        days = settings.profiles.time_to_live_days
        created = await create_topics(settings.kafka, days)
        if created:
            self._report("kafka", f"created topics {', '.join(sorted(created))}")
        for problem in await check_topics(settings.kafka, days):
            self._report("kafka", str(problem))

    def _services(self) -> Mapping[str, Service]:
        chosen = self.settings
        services: dict[str, Service] = {}
        for number in range(1, self._consumers + 1):
            name = "ingest" if number == 1 else f"ingest-{number}"
            folder = self.folder / name
            port = choose(folder, "health", chosen.ingest.health_port or None)
            own = chosen.ingest.model_copy(update={"health_host": "127.0.0.1", "health_port": port})
            environment = environment_of(chosen.model_copy(update={"ingest": own}))
            services[name] = Service(name, ["ingest"], environment, folder, f"127.0.0.1:{port}", port)
        folder = self.folder / "server"
        port = choose(folder, "grpc", chosen.server.port or None)
        health = choose(folder, "health", chosen.server.http_port or None)
        host = chosen.server.host if "host" in chosen.server.model_fields_set else "127.0.0.1"
        given: dict[str, object] = {"host": host, "port": port, "http_port": health}
        if chosen.server.token_keys is None:
            given["token_keys"] = stored_token_keys(self.folder / "token-keys")
        server = chosen.server.model_copy(update=given)
        environment = environment_of(chosen.model_copy(update={"server": server}))
        services["server"] = Service("server", ["serve"], environment, folder, f"127.0.0.1:{port}", health)
        return services

    def _take_folder(self) -> None:
        """Locks the folder, because two stacks would write the same files."""
        if self._lock is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise FolderInUse(self.folder, holder) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock


def _version(bundle: Path) -> int:
    """Returns the version of the bundle. 0 if it cannot be read."""
    try:
        return Manifest.model_validate_json((bundle / MANIFEST).read_bytes()).version
    except (OSError, ValueError):
        return 0
