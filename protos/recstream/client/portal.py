"""An event loop in a thread, on which other threads run coroutines."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from recstream.client.deadline import within
from recstream.client.errors import ClientClosed, RecstreamError
from recstream.client.forking import claim_process, is_forked

_T = TypeVar("_T")

#: Seconds that the thread waits for its cleanup, and `close()` for the thread.
CLOSE_TIMEOUT = 5.0


class Portal:
    """A daemon thread with an event loop. It starts at the first use.

    It ends with `close()`, when nothing refers to the portal any more, and when the interpreter exits.

    Args:
        name: what it belongs to, for errors.
        cleanup: runs on the loop before it ends.
    """

    def __init__(self, name: str, cleanup: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._cleanup = cleanup
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._closed = False

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Runs a coroutine on the loop, in the caller's context. Returns its result.

        Raises:
            RecstreamError: see `start` and `wait`.
            Exception: what the coroutine raises.
        """
        return self.wait(self.start(work))

    def start(self, work: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Starts a coroutine on the loop, in the caller's context. Returns a future for its result.

        Raises:
            ClientClosed: the portal is closed.
            RecstreamError: the process is forked, or the caller is the portal's own thread.
        """
        try:
            claim_process()  # before the lock, which another thread may have held at the fork
            if self._thread is threading.current_thread():
                raise RecstreamError(
                    f"{self._name} was called by a function that it calls itself, such as `on_retry`, and would wait "
                    "for itself"
                )
            with self._lock:
                if self._closed:
                    raise self._closed_error()
                if self._thread is None:
                    self._thread = _LoopThread(self._cleanup)
                    weakref.finalize(self, self._thread.stop)
                return asyncio.run_coroutine_threadsafe(work, self._thread.loop)
        except BaseException:
            work.close()  # it never runs, and would warn
            raise

    def wait(self, future: concurrent.futures.Future[_T]) -> _T:
        """Returns the result of a coroutine. If the wait is interrupted, such as by KeyboardInterrupt, cancels it.

        Raises:
            ClientClosed: the portal was closed meanwhile.
            Exception: what the coroutine raises.
        """
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise self._closed_error() from None
        except BaseException:
            future.cancel()
            raise
        finally:
            del future  # it holds its error, and the error holds this frame

    def next(self, items: AsyncIterator[_T]) -> _T:
        """Returns the next item of an asynchronous iterator.

        Raises:
            StopIteration: there is none.
        """
        item = self.run(_next(items))
        if item is None:
            raise StopIteration
        return item[0]

    def iterate(self, items: AsyncIterator[_T]) -> Iterator[_T]:
        """Yields the items of an asynchronous generator.

        When the caller leaves the loop, nothing refers to the generator any more, and asyncio closes it.
        """
        while (item := self.run(_next(items))) is not None:
            yield item[0]

    def close(self) -> None:
        """Ends the thread, and waits for its end for a bounded time. May be called twice."""
        if is_forked():
            self._closed = True
            return  # the thread is the other process's
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.end()

    def _closed_error(self) -> ClientClosed:
        return ClientClosed(f"{self._name} is closed; make a new one")


class _LoopThread(threading.Thread):
    def __init__(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        super().__init__(name="recstream-client", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._cleanup = cleanup
        self._stopped = asyncio.Event()
        self.start()
        _threads.add(self)

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._stopped.wait()
        await within(CLOSE_TIMEOUT, self._cleanup())

    def stop(self) -> None:
        """Asks the thread to end. May be called on any thread, and by the garbage collector."""
        try:
            if not is_forked():
                self.loop.call_soon_threadsafe(self._stopped.set)
        except RuntimeError:
            pass  # the loop is closed, so the thread has ended

    def end(self) -> None:
        """Asks the thread to end, and waits for it."""
        self.stop()
        if self is not threading.current_thread():
            self.join(CLOSE_TIMEOUT)


_threads: weakref.WeakSet[_LoopThread] = weakref.WeakSet()


@atexit.register
def _end_threads() -> None:
    """Ends what was not closed before the interpreter exits, when gRPC can still clean up."""
    for thread in list(_threads):
        thread.end()


async def _next(items: AsyncIterator[_T]) -> tuple[_T] | None:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None
