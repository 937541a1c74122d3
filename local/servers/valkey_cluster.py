"""A Valkey cluster of three primaries on loopback."""

import asyncio
import time
from pathlib import Path

from local.errors import StartFailed
from local.servers.ports import choose
from local.servers.valkey import EmbeddedValkey

_SLOTS = 16_384


class EmbeddedValkeyCluster:
    """Three primaries without replicas, which serve all slots. Tests use it for what differs in a cluster."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self.folder = folder
        self.nodes: list[EmbeddedValkey] = []
        self._count = nodes
        self._buses: list[int] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of every node."""
        return [(node.host, node.port) for node in self.nodes]

    @property
    def address(self) -> str:
        """host:port of every node, separated by commas."""
        return ",".join(f"{host}:{port}" for host, port in self.addresses)

    async def start(self, seconds: float = 60.0) -> None:
        """Starts the nodes, joins new ones, and waits until each reports that the cluster is ok.

        Raises StartFailed.
        """
        if not self.nodes:
            self.nodes = [self._node(index) for index in range(self._count)]
        await asyncio.gather(*(node.start(seconds) for node in self.nodes))
        first = self.nodes[0]
        if b"cluster_slots_assigned:0\r" in await first.command("CLUSTER", "INFO"):
            for index, node in enumerate(self.nodes):
                low, high = (_SLOTS * index) // self._count, (_SLOTS * (index + 1)) // self._count - 1
                await node.command("CLUSTER", "ADDSLOTSRANGE", low, high)
                await node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            for node in self.nodes[1:]:
                # Without the bus port, Valkey expects the bus at port + 10000.
                await node.command("CLUSTER", "MEET", first.host, first.port, self._buses[0])
        await self._wait_formed(seconds)

    async def stop(self) -> None:
        """Stops every node."""
        await asyncio.gather(*(node.stop() for node in self.nodes))

    def kill(self) -> None:
        """Sends SIGKILL to every node."""
        for node in self.nodes:
            node.kill()

    async def restart(self) -> None:
        """Stops and starts every node, on the same ports."""
        await self.stop()
        await self.start()

    def _node(self, index: int) -> EmbeddedValkey:
        folder = self.folder / f"node-{index}"
        bus = choose(folder, "bus", None)
        self._buses.append(bus)
        port = choose(folder, "valkey", None)
        arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(bus)]
        return EmbeddedValkey(folder, port, arguments)

    async def _wait_formed(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for node in self.nodes:
            while True:
                said = await node.command("CLUSTER", "INFO")
                if b"cluster_state:ok" in said and f"cluster_known_nodes:{self._count}\r".encode() in said:
                    break
                if time.monotonic() > deadline:
                    self.kill()
                    raise StartFailed(
                        f"the Valkey cluster was not formed within {seconds:g} seconds: {said.decode()}"
                    )
                await asyncio.sleep(0.05)
