"""A synchronous client of recstream, for Django, Flask, Celery and scripts.

from recstream.client.sync import Client

with Client("localhost:50051") as client:
    client.record("ann", "tt0114709", "view")
    for films in client.stream("ann", count=10):
        print(films.item_ids)

It is the asyncio client, on an event loop in a thread. Each call is the one of the asyncio client of the same name: to
add a call, write it there and name it here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import grpc

from recstream.client import client as asynchronous
from recstream.client.backoff import Backoff
from recstream.client.bulk import Recorded
from recstream.client.connection import ChannelOptions, Metadata
from recstream.client.errors import ClientClosed
from recstream.client.lists import Recommendations
from recstream.client.portal import Portal
from recstream.client.session import Session as AsyncSession
from recstream.client.stream import RecommendationStream as AsyncRecommendationStream
from recstream.v1.interaction_pb2 import Interaction

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Sync = TypeVar("_Sync")
_Async = TypeVar("_Async")


class _Blocking(Generic[_Async]):
    """Has calls of an asynchronous object, which block. `_call` and its like make them."""

    def __init__(self, portal: Portal, asynchronous: _Async) -> None:
        self._portal = portal
        self._async = asynchronous


def _call(
    method: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[Any, _P], _T]:
    """Returns a method that runs an asynchronous one. It has its parameters, types and documentation."""

    def call(self: _Blocking[Any], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return self._portal.run(method(self._async, *args, **kwargs))

    return _like(method, call)


def _iterator(
    method: Callable[Concatenate[Any, _P], AsyncIterator[_T]],
) -> Callable[Concatenate[Any, _P], Iterator[_T]]:
    """Returns a method that yields what an asynchronous one yields; see `_call`."""

    def call(self: _Blocking[Any], /, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
        return self._portal.iterate(method(self._async, *args, **kwargs))

    return _like(method, call)


def _opener(
    method: Callable[Concatenate[Any, _P], _Async], kind: Callable[[Portal, _Async], _Sync]
) -> Callable[Concatenate[Any, _P], _Sync]:
    """Returns a method that opens what an asynchronous one opens; see `_call`."""

    def call(self: _Blocking[Any], /, *args: _P.args, **kwargs: _P.kwargs) -> _Sync:
        return kind(self._portal, method(self._async, *args, **kwargs))

    return _like(method, call)


def _like(method: Callable[..., object], call: _T) -> _T:
    functools.update_wrapper(call, method)  # type: ignore[arg-type]  # each `call` above is a function
    call.__doc__ = (method.__doc__ or "").replace("await ", "").replace("async ", "")
    return call


class RecommendationStream(_Blocking[AsyncRecommendationStream], Iterator[Recommendations]):
    """Whole lists: a new one whenever something changes that matters to the list.

    The client's thread reads the stream, so a slow reader gets the newest list. The call is cancelled when you leave a
    loop over the stream, by `close()`, which another thread may call, and at the end of a `with`. See the stream of the
    asyncio client for all else.

    Example:
        for recommendations in client.stream("ann", count=10):
            print(recommendations.item_ids, [cause.event_id for cause in recommendations.causes])
    """

    @property
    def latest(self) -> Recommendations | None:
        """The last list that the stream returned, even after the end, for `stream(resume=...)`."""
        return self._async.latest

    @property
    def reconnects(self) -> int:
        """How many times the stream was opened again after a break."""
        return self._async.reconnects

    def __next__(self) -> Recommendations:
        return self._portal.next(self._async)

    def __iter__(self) -> Iterator[Recommendations]:
        return self._portal.iterate(aiter(self._async))

    def close(self) -> None:
        """Cancels the call and ends the iteration. May be called twice."""
        _close(self._portal, self._async)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Session(_Blocking[AsyncSession], Iterator[Recommendations]):
    """A user's visit: `record()` what the user does, and iterate over the lists to show.

    Threads may share a session: one iterates, another one records. See the session of the asyncio client for all else.

    Example:
        with client.session("ann", count=10) as session:
            session.record("tt0114709", "click")
            for recommendations in session:
                show(recommendations)
    """

    @property
    def latest(self) -> Recommendations | None:
        """The newest list, even if it is unread."""
        return self._async.latest

    @property
    def reconnects(self) -> int:
        """How many times the session was opened again after a break."""
        return self._async.reconnects

    record = _call(AsyncSession.record)
    record_impression = _call(AsyncSession.record_impression)
    undo = _call(AsyncSession.undo)

    def __next__(self) -> Recommendations:
        return self._portal.next(self._async)

    def close(self) -> None:
        """Cancels the call. Events without an answer fail with ClientClosed. May be called twice."""
        _close(self._portal, self._async)

    def __enter__(self) -> Self:
        self._portal.run(self._async.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Client(_Blocking[asynchronous.Client]):
    """A synchronous client of recstream. One client per process is enough, and threads can share it.

    Its calls are those of the asyncio client, with the same arguments, results and errors. They run on an event loop in
    a daemon thread, which starts at the first call. The functions that you pass run on other threads than yours:
    `metadata` may block, and `on_retry` must neither block nor use the client.

    A server that forks its workers, such as gunicorn with `--preload` or Celery, may make the client before the fork,
    but must make the first call after it. Otherwise calls in the workers raise RecstreamError, because gRPC does not
    survive a fork.

    Example:
        client = Client("localhost:50051")

        def index(request):
            films = client.recommend(request.user.id, count=10)
            return render(request, "index.html", {"films": films})
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
        """Sets up the client, as the asyncio client. No thread is started yet."""
        client = asynchronous.Client(
            target,
            credentials=credentials,
            metadata=_in_a_thread(metadata),
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            idle_timeout=idle_timeout,
            options=options,
        )
        super().__init__(Portal(f"the client of {target}", client.close), client)

    @property
    def target(self) -> str:
        """The target that the client calls."""
        return self._async.target

    recommend = _call(asynchronous.Client.recommend)
    rank = _call(asynchronous.Client.rank)
    pages = _iterator(asynchronous.Client.pages)
    stream = _opener(asynchronous.Client.stream, RecommendationStream)
    session = _opener(asynchronous.Client.session, Session)
    similar = _call(asynchronous.Client.similar)
    record = _call(asynchronous.Client.record)
    record_impression = _call(asynchronous.Client.record_impression)
    record_batch = _call(asynchronous.Client.record_batch)
    undo = _call(asynchronous.Client.undo)
    profile = _call(asynchronous.Client.profile)
    export_profile = _call(asynchronous.Client.export_profile)
    erase = _call(asynchronous.Client.erase)
    item = _call(asynchronous.Client.item)
    get_items = _call(asynchronous.Client.get_items)
    list_items = _iterator(asynchronous.Client.list_items)
    top_items = _call(asynchronous.Client.top_items)
    put_items = _call(asynchronous.Client.put_items)
    patch_items = _call(asynchronous.Client.patch_items)
    withdraw = _call(asynchronous.Client.withdraw)
    delete_items = _call(asynchronous.Client.delete_items)

    def record_many(
        self,
        interactions: Iterable[Interaction],
        *,
        in_flight: int = 256,
        give_up_after: float | None = 60.0,
    ) -> Iterator[Recorded]:
        """Records many events over one stream. Yields one outcome for each event, in order.

        The events are read in the calling thread, as answers come. See the asyncio client for all else.

        Args:
            interactions: the events; see `interaction()`.
            in_flight: most events without an answer.
            give_up_after: seconds without a connection after which `Unavailable` is raised; None: never.

        Example:
            events = (interaction(row.user, row.item, "view", event_time=row.time) for row in rows)
            for outcome in client.record_many(events):
                if outcome.error:
                    print(outcome.interaction.event_id, outcome.error)
        """
        source = iter(interactions)
        # Of the client's thread: an outcome, a wish for an event, or None at the end. It has one wish at a time, and it
        # comes after the outcomes until then, so these are at most `in_flight`.
        messages: queue.SimpleQueue[Recorded | asyncio.Future[Interaction | None] | None] = (
            queue.SimpleQueue()
        )

        async def events() -> AsyncIterator[Interaction]:
            while True:
                wanted: asyncio.Future[Interaction | None] = asyncio.get_running_loop().create_future()
                messages.put(wanted)
                event = await wanted
                if event is None:
                    return
                yield event

        async def record() -> None:
            async for outcome in self._async.record_many(
                events(), in_flight=in_flight, give_up_after=give_up_after
            ):
                messages.put(outcome)

        recording = self._portal.start(record())
        recording.add_done_callback(lambda _: messages.put(None))
        try:
            while (message := messages.get()) is not None:
                if isinstance(message, Recorded):
                    yield message
                else:
                    _give(message, source)
            self._portal.wait(recording)
        finally:
            recording.cancel()
            del recording  # it holds its error, and the error holds this frame

    def close(self) -> None:
        """Ends every call and stream, and the thread. Waits for a bounded time. May be called twice."""
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _give(wanted: asyncio.Future[Interaction | None], source: Iterator[Interaction]) -> None:
    """Reads an event in this thread, and gives it to the client's thread. Its error ends the recording there."""

    def settle(event: Interaction | None, error: Exception | None) -> None:
        if not wanted.done():  # it is cancelled if the recording has ended
            if error is None:
                wanted.set_result(event)
            else:
                wanted.set_exception(error)

    event: Interaction | None = None
    failure: Exception | None = None
    try:
        event = next(source, None)
    except Exception as error:
        failure = error
    with contextlib.suppress(RuntimeError):  # the client was closed, and its loop with it
        wanted.get_loop().call_soon_threadsafe(settle, event, failure)


def _in_a_thread(metadata: Metadata | None) -> Metadata | None:
    """Returns metadata whose function runs in a thread of its own. It may block, which must not stop other calls."""
    if not callable(metadata):
        return metadata
    function = metadata

    async def called() -> Mapping[str, str]:
        given = await asyncio.to_thread(function)
        return await given if isinstance(given, Awaitable) else given

    return called


def _close(portal: Portal, opened: AsyncRecommendationStream | AsyncSession) -> None:
    with contextlib.suppress(ClientClosed):  # it ended with the client
        portal.run(opened.aclose())
