"""A stream of lists."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING

from recstream.client.connection import Connection
from recstream.client.exchange import Exchange
from recstream.client.lists import Recommendations
from recstream.client.mailbox import Mailbox
from recstream.client.reconnect import OnRetry, Reconnect
from recstream.client.subscription import Subscription
from recstream.v1.recommendation_service_pb2 import (
    StreamRecommendationsRequest,
    StreamRecommendationsResponse,
)

if TYPE_CHECKING:
    import grpc.aio

    _Call = grpc.aio.UnaryStreamCall[StreamRecommendationsRequest, StreamRecommendationsResponse]


class RecommendationStream(AsyncIterator[Recommendations]):
    """Whole lists: a new one whenever something changes that matters to the list.

    The stream is opened when the first list is requested. A task of its own then reads it. A list that is unread when
    the next one comes is dropped, and the next one takes over its causes, so a slow reader gets the newest list. A
    broken stream is opened again, after a back-off or the delay that the server named. It resumes with its token, so
    that an unchanged list does not come twice.

    The call is cancelled when you leave a loop over the stream in any way (break, exception, cancelled task), by
    `aclose()`, and at the end of an `async with`. If you iterate again after leaving a loop, the stream resumes. After
    `aclose()` it has ended. A stream that is dropped while it is open, after a bare `anext()`, cancels its call and
    warns with ResourceWarning.

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
        mailbox = Mailbox(resume)

        def dial(metadata: grpc.aio.Metadata | None) -> _Call:
            request.resume_token = mailbox.connected()
            return connection.recommendations.StreamRecommendations(request, metadata=metadata)

        def receive(response: StreamRecommendationsResponse) -> None:
            mailbox.receive(response.frame)
            # The first frame has answered for them. The stream must not wait for them again after a break.
            request.ClearField("after")
            request.ClearField("after_event_ids")

        self._latest = resume
        self._reconnect = Reconnect(connection.backoff, on_retry)
        exchange = Exchange(
            connection=connection,
            dial=dial,
            receive=receive,
            reconnect=self._reconnect,
            idle_timeout=idle_timeout,
        )
        self._subscription = Subscription(f"stream of {request.user_id!r}", exchange, mailbox)
        self._closed = False

    @property
    def latest(self) -> Recommendations | None:
        """The last list that the stream returned, even after the end, for `stream(resume=...)`."""
        return self._latest

    @property
    def reconnects(self) -> int:
        """How many times the stream was opened again after a break."""
        return self._reconnect.count

    async def __anext__(self) -> Recommendations:
        try:
            while not self._closed:
                self._subscription.start()
                recommendations = await self._subscription.next()
                if recommendations is not None:
                    self._latest = recommendations
                    return recommendations
        except BaseException:
            self._subscription.stop()
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
            self._subscription.stop()

    async def aclose(self) -> None:
        """Cancels the call and ends the iteration. May be called twice."""
        self._closed = True
        await self._subscription.aclose()

    async def __aenter__(self) -> RecommendationStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
