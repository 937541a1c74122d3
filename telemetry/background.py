"""What a process runs in the background, and what the failure of each part means.

A process lists its tasks in one place, and `run_background` runs the list. So the end of a task is never an accident:
it is tried again, which a metric counts, or it ends the process, which a log line explains.
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

log = structlog.get_logger()

RESTARTS = Counter(
    "recstream_background_restarts",
    "Times that a task in the background was started again after it failed",
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
"""The tasks of all processes whose failure is tried again."""

# Failures are logged and counted here. Stamina's own hooks would log them twice, and label a series by the number of
# the attempt, which grows for ever.
stamina.instrumentation.set_on_retry_hooks(())


class OnFailure(StrEnum):
    """What the failure of a task means."""

    RETRY = "retry"
    """It is started again after a pause."""
    FATAL = "fatal"
    """The process cannot do its work, and ends."""


class Attempt:
    """One attempt, as a context. A failure that is tried again is held back until the next attempt; anything else that
    is raised in it, cancellation above all, leaves the context at once."""

    def __init__(self, attempt: stamina.Attempt, retried: Callable[[BaseException], bool]) -> None:
        self._attempt = attempt
        self._retried = retried

    @property
    def num(self) -> int:
        """Its number since the last steady run, from 1."""
        return self._attempt.num

    def __enter__(self) -> None:
        self._attempt.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # Stamina's own context holds back everything, and raises when the next attempt is asked for. After a steady run
        # it is not asked, and a cancellation was lost.
        if raised is not None and not self._retried(raised):
            return False
        return bool(self._attempt.__exit__(kind, raised, trace))


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses between attempts, in seconds: exponential from `initial` up to `maximum`, each with up to `jitter` more.

    After a run of `steady` seconds the pauses begin again at the first one.
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
        """Attempts, with the pauses between them. Use each as a context; leave the loop when one succeeds.

        Args:
            ends: Events that end a pause. No attempt follows one that is set. Without them attempts have no end.
            on: Failures that are tried again.
            unless: Those of them that are raised all the same.
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
                    wait_jitter=self.jitter,
                )
            )
            attempt: stamina.Attempt | None = await anext(retries)
            while attempt is not None:
                began = time.monotonic()
                yield Attempt(attempt, retried)
                if time.monotonic() - began > self.steady:
                    break
                attempt = await _next_attempt(retries, ends)
            if attempt is None or await _is_set_within(self.initial + random.uniform(0, self.jitter), ends):
                return


async def _next_attempt(
    retries: AsyncIterator[stamina.Attempt], ends: Sequence[asyncio.Event]
) -> stamina.Attempt | None:
    """The next attempt after its pause; None if one of `ends` is set first."""
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
    """One task of the list.

    Attributes:
        name: What logs and metrics call it. A constant of the code: it is the value of a label.
        run: Begins it; called again for each retry. A task that returns has done its part.
        on_failure: What it means when it raises.
        expected: Failures that come and go with the servers around us. They are logged as a line; anything else is a
            fault of ours, and is logged with its traceback.
        back_off: The pauses before it is started again.
        drains: It ends by itself once the process is told to stop. Other tasks are cancelled after those that drain.
    """

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    on_failure: OnFailure
    expected: tuple[type[Exception], ...] = ()
    back_off: BackOff = HOUSE_BACK_OFF
    drains: bool = False


class TaskFailed(Exception):
    """A task failed whose failure is fatal. It has been logged. The cause is its `__cause__`."""

    def __init__(self, task: str, cause: BaseException) -> None:
        super().__init__(f"{task} failed: {type(cause).__name__}: {cause}")
        self.task = task


class BrokenOff(Exception):
    """A task was cancelled from within: aiokafka's connections cancel what waits for them when they close."""


async def run_background(tasks: Iterable[BackgroundTask], stop: asyncio.Event | None = None) -> None:
    """Runs the tasks until each has returned, one has failed for good, or this is cancelled.

    Args:
        tasks: What to run. Names are unique.
        stop: Once it is set, waits for the tasks that drain and cancels the others.

    Raises:
        TaskFailed: A task whose failure is fatal has failed. The others have been cancelled.
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
            await _run_once(task)
        except TaskFailed:
            raise  # of a list within this task, which has said so
        except Exception as error:
            log.exception("background_task_ends_the_process", task=task.name, cause=repr(error))
            raise TaskFailed(task.name, error) from error
        return
    restarts = RESTARTS.labels(task.name)
    async for attempt in task.back_off.attempts():
        with attempt:
            try:
                await _run_once(task)
            except Exception as error:
                restarts.inc()
                if isinstance(error, (BrokenOff, *task.expected)):
                    log.warning("background_task_failed", task=task.name, cause=repr(error))
                else:
                    log.exception("background_task_failed", task=task.name, cause=repr(error))
                raise
            return


async def _run_once(task: BackgroundTask) -> None:
    """One run, in a task of its own: what cancels it from within is a failure, and not our own end."""
    running = asyncio.create_task(task.run(), name=task.name)
    try:
        await asyncio.wait({running})
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait({running})
    if running.cancelled():
        raise BrokenOff("cancelled from within")
    running.result()
