"""The whole HTTP answer of a child process is read."""

import asyncio

from local.service import http_get


async def test_an_answer_in_pieces_is_read_whole() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + b"{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b'"not_ready": {}}')
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await http_get("127.0.0.1", port, "/readyz") == (503, '{"not_ready": {}}')
