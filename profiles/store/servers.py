"""Requests about the servers: their ids, subscriptions and keys."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from glide import (
    AllPrimaries,
    ClusterScanCursor,
    GlideClusterClient,
    InfoSection,
    ObjectType,
    RandomNode,
    RequestError,
)

from profiles.store.connection import Client, Connection

Cursor = bytes | ClusterScanCursor

_SCAN_COUNT: Final = 1000


async def run_ids(client: Client) -> str:
    """The run id of the server, or of all primaries. A restarted server has a new one."""
    if isinstance(client, GlideClusterClient):
        answer = await client.info([InfoSection.SERVER], AllPrimaries())
        infos = list(answer.values()) if isinstance(answer, dict) else [answer]
    else:
        infos = [await client.info([InfoSection.SERVER])]
    if not all(isinstance(info, bytes) for info in infos):
        # Seen with many subscriptions at once: the client took a confirmation for the answer.
        raise RequestError(f"the server answered INFO with {infos!r}")
    return ",".join(
        sorted(
            line.removeprefix(b"run_id:").decode()
            for info in infos
            for line in info.splitlines()
            if line.startswith(b"run_id:")
        )
    )


async def client_ids(client: Client) -> str:
    """The ids that the servers gave this client's connections. A new connection has a new id."""
    if isinstance(client, GlideClusterClient):
        answer = await client.client_id(AllPrimaries())
        if isinstance(answer, dict):
            return ",".join(sorted(f"{node.decode()}={number}" for node, number in answer.items()))
        return str(answer)
    return str(await client.client_id())


async def ping_any(client: Client) -> None:
    """Returns if any server answers."""
    if isinstance(client, GlideClusterClient):
        await client.ping(route=RandomNode())
    else:
        await client.ping()


async def subscribe(channels: set[str], timeout_ms: int, client: Client) -> None:
    """Subscribes to the channels. Returns once the servers have confirmed it."""
    if isinstance(client, GlideClusterClient):
        await client.ssubscribe(channels, timeout_ms)
    else:
        await client.subscribe(channels, timeout_ms)


async def unsubscribe(channels: set[str], timeout_ms: int, client: Client) -> None:
    """Unsubscribes from the channels. Returns once the servers have confirmed it."""
    if isinstance(client, GlideClusterClient):
        await client.sunsubscribe(channels, timeout_ms)
    else:
        await client.unsubscribe(channels, timeout_ms)


async def subscriptions(client: Client) -> set[str]:
    """The channels that the servers have confirmed on the present connections."""
    found: set[str] = set()
    state = await client.get_subscriptions()
    for channels in state.actual_subscriptions.values():
        found |= channels
    return found


async def scan(connection: Connection, pattern: str) -> AsyncIterator[str]:
    """Yields the keys of strings that match the pattern, in no order. Raises StoreUnavailable."""
    cursor: Cursor | None = None
    while True:
        cursor, keys = await connection.ask("scan", partial(_scan, cursor, pattern))
        for key in keys:
            yield key.decode()
        if cursor is None:
            return


async def _scan(cursor: Cursor | None, pattern: str, client: Client) -> tuple[Cursor | None, list[bytes]]:
    """The next cursor, and the next keys. The cursor is None at the end."""
    kind = ObjectType.STRING
    if isinstance(client, GlideClusterClient):
        at = cursor
        if not isinstance(at, ClusterScanCursor):
            at = ClusterScanCursor()  # type: ignore[no-untyped-call]
        after, keys = await client.scan(at, match=pattern, count=_SCAN_COUNT, type=kind)
        assert isinstance(after, ClusterScanCursor)
        assert isinstance(keys, list)
        return None if after.is_finished() else after, keys
    begin = cursor if isinstance(cursor, bytes) else b"0"
    following, found = await client.scan(begin, match=pattern, count=_SCAN_COUNT, type=kind)
    assert isinstance(following, bytes)
    assert isinstance(found, list)
    return None if following == b"0" else following, found
