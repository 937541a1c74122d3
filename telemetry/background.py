"""The background tasks of a process, and what the failure of each one means.

A process lists its tasks in one place, and `run_background` runs the list. So no task fails unnoticed. A failed task is
either started again, which a metric counts, or it ends the process, which a log line explains.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Final

import stamina
import stamina.instrumentation
import structlog
from prometheus_client import Counter

from telemetry.labels import LabelValues, LabelValuesOf
from telemetry.tasks import BrokenOff, in_own_task

log = structlog.get_logger()

RESTARTS = Counter(
    "recstream_background_restarts",
    "Restarts of a background task after a failure",
    ["task"],
)
LABEL_VALUES: Final[LabelValuesOf] = {
    (RESTARTS, "task"): LabelValues(
        (
            "catalog-reader",
            "catalog-index",
            "catalog-versions",
            "profile-subscriptions",
            "profile-probe",
            "log-producer",
            "log-topics",
            "slate-log",
            "stream-revisions",
            "stream-tiers",
            "sweeper",
        )
    )
}
"""The tasks of all processes that are started again after a failure."""

# Failures are logged and counted here. Stamina's own hooks would log them twice, and label a series with the number of
# the attempt, which is unbounded.
stamina.instrumentation.set_on_retry_hooks(())


class OnFailure(StrEnum):
    """What the failure of a task means."""

    RETRY = "retry"
    """The task is started again after a pause."""
    FATAL = "fatal"
    """The process cannot do its work without the task, and ends."""


class Attempt:
    """One attempt, as a context. A failure that is tried again is suppressed until the next attempt. Any other
    exception, such as a cancellation, leaves the context at once."""

    def __init__(self, attempt: stamina.Attempt, retried: Callable[[BaseException], bool]) -> None:
        self._attempt = attempt
        self._retried = retried

    @property
    def num(self) -> int:
        """The number of the attempt since the last steady run, from 1."""
        return self._attempt.num

    def __enter__(self) -> None:
        self._attempt.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # Stamina's own context suppresses every exception until the next attempt is requested. After a steady run no
        # next attempt is requested, so a cancellation would be lost.
        if raised is not None and not self._retried(raised):
            return False
        return bool(self._attempt.__exit__(kind, raised, trace))


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses between attempts, in seconds: exponential from `initial` up to `maximum`, each with up to `jitter` more.

    The longest pauses vary too, so that processes that lost the same server do not return to it in step. After a run of
    `steady` seconds the pauses start over at `initial`.
    """

    initial: float = 0.2
    maximum: float = 5.0
    jitter: float = 0.2
    steady: float = 30.0

    async def attempts(
        self,
        *ends: asyncio.Event,
        on: tuple[type[Exception], ...] = (Exception,),
        unless: tuple[type[Exception], ...] = (),
    ) -> AsyncGenerator[Attempt, None]:
        """Yields attempts, with pauses between them. Use each as a context, and leave the loop when one succeeds.

        Args:
            ends: Events that end the attempts, during a pause as well. Without any, the attempts never end.
            on: Failures that are tried again.
            unless: Exceptions to `on`, which are raised at once.
        """

        def retried(error: BaseException) -> bool:
            return isinstance(error, on) and not isinstance(error, unless)

        while True:
            retries = aiter(
                stamina.retry_context(
                    on=retried,
                    attempts=None,
                    timeout=None,
                    wait_initial=self.initial,
                    wait_max=self.maximum,
                    # Stamina's jitter ends where the maximum begins: all pauses would be the maximum.
                    wait_jitter=0,
                )
            )
            attempt: stamina.Attempt | None = await anext(retries)
            while attempt is not None:
                began = time.monotonic()
                yield Attempt(attempt, retried)
                if time.monotonic() - began > self.steady:
                    break
                attempt = await _next_attempt(retries, ends)
                if self.jitter and await _is_set_within(random.uniform(0, self.jitter), ends):
                    return
            if attempt is None or await _is_set_within(self.initial + random.uniform(0, self.jitter), ends):
                return


async def _next_attempt(
    retries: AsyncIterator[stamina.Attempt], ends: Sequence[asyncio.Event]
) -> stamina.Attempt | None:
    """Returns the next attempt after its pause. None if one of `ends` is set first."""
    if not ends:
        return await anext(retries)
    upcoming = asyncio.ensure_future(anext(retries))
    waiting = [asyncio.create_task(end.wait()) for end in ends]
    try:
        await asyncio.wait({upcoming, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        return None if any(end.is_set() for end in ends) else upcoming.result()
    finally:
        for task in (upcoming, *waiting):
            task.cancel()
        await asyncio.gather(upcoming, *waiting, return_exceptions=True)


async def _is_set_within(seconds: float, ends: Sequence[asyncio.Event]) -> bool:
    waiting = [asyncio.create_task(end.wait()) for end in ends]
    if not waiting:
        await asyncio.sleep(seconds)
        return False
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return any(end.is_set() for end in ends)


HOUSE_BACK_OFF: Final = BackOff()


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """A background task.

    Attributes:
        name: Its name in logs and metrics. It has to be a constant in the code, because it is the value of a label.
        run: Starts the task, once for each retry. A task that returns is done.
        on_failure: What an exception of the task means.
        expected: Exceptions that failing servers cause. They are logged as a line. Any other exception is a bug of
            ours, and is logged with its traceback.
        back_off: The pauses before restarts.
        drains: Whether the task ends by itself once the process has to stop. Other tasks are cancelled after those that
            drain.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    on_failure: OnFailure
    expected: tuple[type[Exception], ...] = ()
    back_off: BackOff = HOUSE_BACK_OFF
    drains: bool = False


class TaskFailed(Exception):
    """A task with fatal failures has failed, and the failure is logged. `__cause__` is the task's exception."""

    def __init__(self, task: str, cause: BaseException) -> None:
        super().__init__(f"{task} failed: {type(cause).__name__}: {cause}")
        self.task = task


async def run_background(tasks: Iterable[BackgroundTask], stop: asyncio.Event | None = None) -> None:
    """Runs the tasks until all have returned, one has failed fatally, or this is cancelled.

    Args:
        tasks: The tasks, with unique names.
        stop: Once it is set, waits for the tasks that drain, and then cancels the others.

    Raises:
        TaskFailed: A task has failed fatally. The others were cancelled.
    """
    running = {asyncio.create_task(_keep(task), name=task.name): task for task in tasks}
    stopping = asyncio.create_task((stop or asyncio.Event()).wait(), name="stopping")
    try:
        while any(not each.done() and (not stopping.done() or task.drains) for each, task in running.items()):
            pending = {every for every in (*running, stopping) if not every.done()}
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for each in running:
                if each.done():
                    each.result()
    finally:
        for every in (*running, stopping):
            every.cancel()
        await asyncio.gather(*running, stopping, return_exceptions=True)


async def _keep(task: BackgroundTask) -> None:
    if task.on_failure is OnFailure.FATAL:
        try:
            await in_own_task(task.run(), task.name)
        except TaskFailed:
            raise  # from a nested list of tasks, which has logged it
        except Exception as error:
            log.exception("background_task_ends_the_process", task=task.name, cause=repr(error))
            raise TaskFailed(task.name, error) from error
        return
    restarts = RESTARTS.labels(task.name)
    async for attempt in task.back_off.attempts():
        with attempt:
            try:
                await in_own_task(task.run(), task.name)
            except Exception as error:
                restarts.inc()
                if isinstance(error, (BrokenOff, *task.expected)):
                    log.warning("background_task_failed", task=task.name, cause=repr(error))
                else:
                    log.exception("background_task_failed", task=task.name, cause=repr(error))
                raise
            return
