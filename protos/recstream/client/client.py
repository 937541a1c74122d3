"""The client."""

from __future__ import annotations

from types import TracebackType

import grpc

from recstream.client.arguments import seconds
from recstream.client.backoff import Backoff
from recstream.client.catalogue import Catalogue
from recstream.client.connection import ChannelOptions, Connection, Metadata
from recstream.client.profiles import Profiles
from recstream.client.recommending import Recommending
from recstream.client.recording import Recording


class Client(Recommending, Recording, Profiles, Catalogue):
    """An asyncio client of recstream. One client per process is enough, and tasks can share it.

    The channel opens at the first call, on the event loop that runs then. The client may be used on one event loop
    after another, such as in several calls of `asyncio.run`, and opens a new channel on each. It cannot be used on two
    loops that run at the same time, in two threads: a call on the second one raises RecstreamError. Make one client for
    each of them.

    A call takes at most its timeout, including its retries. Halfway through it, and after half a second at least, a
    call without an answer makes one more try beside the one that runs, and the first answer counts: a slow server may
    use all the time, and one that hangs leaves time for another. Calls that wait for events (`after`), writes to the
    catalogue and `export_profile()` make no such try.

    Example:
        async with Client("localhost:50051") as client:
            films = await client.recommend("ann", count=10)
            await client.record("ann", films[0].item_id, "view", slate_id=films.slate_id, position=0)
            async for films in client.stream("ann", count=10):
                print(films.item_ids)
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata | None = None,
        timeout: float = 5.0,
        retries: int = 4,
        backoff: Backoff | None = None,
        idle_timeout: float | None = 90.0,
        options: ChannelOptions = (),
    ) -> None:
        """Sets up the client. Nothing is sent yet.

        Args:
            target: `host:port`, or any name that gRPC resolves, such as `dns:///recstream:50051`.
            credentials: for TLS, see `tls()`; None: plain text.
            metadata: sent with every call, such as `{"authorization": "Bearer ..."}`. A function is called for
                each try of a call, and may be async. Its time is part of the call's timeout (on streams it may take
                `timeout` seconds), and what it raises is raised as it is.
            timeout: seconds that a call may take, including its retries, unless the call says otherwise; at most a
                day.
            retries: most retries of a call while the server is unavailable; 0: one try, and none beside it.
            backoff: pauses between tries and before a stream is opened again.
            idle_timeout: seconds without even a heartbeat after which a stream is opened again; None: never.
                It must be longer than the server's heartbeat interval.
            options: gRPC channel options, on top of the client's own.

        Raises:
            ValueError: `target` begins with a scheme such as `http://`, or a number is out of its range.
        """
        self._idle_timeout = None if idle_timeout is None else seconds("idle_timeout", idle_timeout)
        self._connection = Connection(
            target,
            credentials=credentials,
            metadata=metadata,
            timeout=timeout,
            retries=retries,
            backoff=backoff or Backoff(),
            options=options,
        )

    @property
    def target(self) -> str:
        """The target that the client calls."""
        return self._connection.target

    async def close(self) -> None:
        """Ends every call and stream, and closes the channel. May be called twice."""
        await self._connection.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
