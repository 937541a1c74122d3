"""A link to a server that can go silent without closing, as if packets were dropped."""

import asyncio
import contextlib


class StallingLink:
    """Forwards from its own port to a server. While `stalled`, data in both directions is dropped."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stalled = False
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        out: asyncio.StreamWriter | None = None
        try:
            back, out = await asyncio.open_connection(*self._target)
            await asyncio.gather(self._pipe(reader, out), self._pipe(back, writer))
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, out):
                if end is not None:
                    end.close()

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                if not self.stalled:
                    writer.write(chunk)
                    await writer.drain()
        writer.close()
