"""Restarts a worker when it fails, and shows in its health what it waits for."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from aiokafka.errors import KafkaError

from ingest import metrics
from ingest.errors import Halted, IngestError, StoreChanged
from ingest.settings import IngestSettings
from profiles.errors import StoreUnavailable
from telemetry.background import BackOff
from telemetry.health import Health
from telemetry.tasks import BrokenOff, in_own_task
from topics.errors import TopicsError

log = structlog.get_logger()

# These come from failing servers. Anything else is a bug of ours and is logged with its traceback.
_PASSING = (KafkaError, TopicsError, StoreUnavailable, IngestError, BrokenOff, OSError, TimeoutError)
_STEADY_SECONDS = 60.0


async def supervise(
    name: str,
    work: Callable[[asyncio.Event], Awaitable[None]],
    health: Health,
    settings: IngestSettings,
    stop: asyncio.Event,
    *,
    kind: str = "",
) -> None:
    """Runs `work(stop)` until it returns or `stop` is set. Restarts it with back-off after each failure.

    Until `work` marks the component as ready, it is unready, with the reason. A worker that halts is started again
    every `topic_check_seconds`, in case an operator has acted, or never if the halt is final.

    Args:
        name: The component in `health`.
        work: The worker.
        health: Shows the component's state.
        settings: The settings of ingest.
        stop: Ends the worker, and every pause.
        kind: The worker's label in metrics, for workers that share one. Empty: `name`.
    """
    health.down(name, "starting")
    first = settings.backoff_ms / 1000
    back_off = BackOff(
        initial=first, maximum=settings.backoff_max_ms / 1000, jitter=first, steady=_STEADY_SECONDS
    )
    async with contextlib.aclosing(back_off.attempts(stop)) as attempts:
        async for attempt in attempts:
            with attempt:
                try:
                    await _until_decided(name, work, health, settings, stop)
                except Exception as error:
                    health.down(name, f"{type(error).__name__}: {error}")
                    metrics.RESTARTS.labels(kind or name).inc()
                    if isinstance(error, _PASSING):
                        log.warning("worker_failed", worker=name, attempt=attempt.num, cause=repr(error))
                    else:
                        log.exception("worker_failed", worker=name, attempt=attempt.num)
                    raise
                return


async def _until_decided(
    name: str,
    work: Callable[[asyncio.Event], Awaitable[None]],
    health: Health,
    settings: IngestSettings,
    stop: asyncio.Event,
) -> None:
    """Runs the worker, and restarts it when it halts or the store has changed, which are no failures of the worker."""
    logged = ""
    while not stop.is_set():
        try:
            await in_own_task(work(stop))
            return
        except StoreChanged as error:
            log.warning("store_changed", worker=name, rewind_seconds=settings.rewind_seconds)
            health.down(name, str(error))
        except Halted as error:
            health.down(name, str(error))
            if str(error) != logged:
                logged = str(error)
                log.error("halted", worker=name, reason=logged)
            await wait_for_stop(stop, float("inf") if error.final else settings.topic_check_seconds)


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Waits until `stop` is set, but at most for so many seconds (inf: no limit)."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), None if seconds == float("inf") else seconds)


async def unless_stopped(work: Awaitable[object], stop: asyncio.Event) -> bool:
    """Waits for the work. `stop` cancels it. Returns whether the work was done, and raises what the work raises."""
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)
