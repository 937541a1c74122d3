"""A stream of lists."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType

import grpc.aio

from recstream.client.connection import Connection
from recstream.client.errors import RecstreamError
from recstream.client.frames import FrameReader
from recstream.client.lists import Recommendations
from recstream.client.reading import read
from recstream.client.reconnect import OnRetry, Reconnect
from recstream.v1.recommendation_service_pb2 import (
    StreamRecommendationsRequest,
    StreamRecommendationsResponse,
)

_Call = grpc.aio.UnaryStreamCall[StreamRecommendationsRequest, StreamRecommendationsResponse]


class RecommendationStream(AsyncIterator[Recommendations]):
    """Whole lists: a new one whenever something changes that matters to the list.

    The stream is opened when the first list is requested. A broken stream is opened again, after a back-off or the
    delay that the server named. It resumes with its token, so that an unchanged list does not come twice.

    The call is cancelled when you leave a loop over the stream in any way (break, exception, cancelled task), by
    `aclose()`, and at the end of an `async with`. If you iterate again after leaving a loop, the stream resumes. After
    `aclose()` it has ended.

    The client does not read ahead. A slow reader gets the newest list, and skips those in between.

    Example:
        async for recommendations in client.stream("ann", count=10):
            print(recommendations.item_ids, [cause.event_id for cause in recommendations.causes])
    """

    def __init__(
        self,
        connection: Connection,
        request: StreamRecommendationsRequest,
        *,
        resume: Recommendations | None = None,
        idle_timeout: float | None = None,
        on_retry: OnRetry | None = None,
    ) -> None:
        self._connection = connection
        self._request = request
        self._reader = FrameReader(resume)
        self._idle_timeout = idle_timeout
        self._reconnect = Reconnect(connection.backoff, on_retry)
        self._call: _Call | None = None
        self._closed = False

    @property
    def latest(self) -> Recommendations | None:
        """The newest list, even after the end, for `stream(resume=...)`."""
        return self._reader.held

    @property
    def reconnects(self) -> int:
        """How many times the stream was opened again after a break."""
        return self._reconnect.count

    async def __anext__(self) -> Recommendations:
        try:
            while not self._closed:
                try:
                    recommendations = await self._read()
                except RecstreamError as error:
                    if self._closed:
                        break
                    self._hang_up()
                    await self._reconnect.pause(error)
                    continue
                if recommendations is not None:
                    return recommendations
        except BaseException:
            self._hang_up()
            raise
        raise StopAsyncIteration

    def __aiter__(self) -> AsyncGenerator[Recommendations, None]:
        # Each loop gets its own generator, which asyncio closes once it is unreferenced. So leaving the loop ends the
        # call, even if the caller keeps the stream.
        return self._lists()

    async def _lists(self) -> AsyncGenerator[Recommendations, None]:
        try:
            while True:
                try:
                    recommendations = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield recommendations
        finally:
            self._hang_up()

    async def _read(self) -> Recommendations | None:
        if self._call is None:
            self._request.resume_token = self._reader.resume_token
            self._reader.connected()
            self._call = self._connection.recommendations.StreamRecommendations(
                self._request, metadata=self._connection.metadata()
            )
        response: StreamRecommendationsResponse = await read(self._call, self._idle_timeout)
        self._reconnect.connected()
        return self._reader.read(response.frame)

    def _hang_up(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    async def aclose(self) -> None:
        """Cancels the call and ends the iteration. May be called twice."""
        self._closed = True
        self._reconnect.stop()
        self._hang_up()

    async def __aenter__(self) -> RecommendationStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
