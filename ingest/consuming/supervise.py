"""A worker that is started again when it fails, and says what it waits for."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog
from aiokafka.errors import KafkaError

from ingest import metrics
from ingest.consuming.race import cancel_and_wait
from ingest.errors import Halted, IngestError, StoreChanged
from ingest.settings import IngestSettings
from profiles.errors import StoreUnavailable
from telemetry.health import Health
from topics.errors import TopicsError

log = structlog.get_logger()

# What comes and goes with the servers around us; anything else is a fault of ours and gets its traceback.
_PASSING = (KafkaError, TopicsError, StoreUnavailable, IngestError, OSError, TimeoutError)
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
    """Runs `work(stop)` until it returns or `stop` is set, again after each failure.

    Unready meanwhile, with the reason; `work` marks the component `name` as up when it is at work. What halts is
    looked at again every topic_check_seconds, in case someone has decided, or never if that is final. `kind`: what
    the metrics call it, where there are several of a kind.
    """
    health.down(name, "starting")
    attempt = 0
    said = ""
    while not stop.is_set():
        started = time.monotonic()
        try:
            await _in_its_own_task(work(stop))
            return
        except StoreChanged as error:
            log.warning("store_changed", worker=name, rewind_seconds=settings.rewind_seconds)
            health.down(name, str(error))
            wait = 0.0
        except Halted as error:
            health.down(name, str(error))
            if str(error) != said:
                said = str(error)
                log.error("halted", worker=name, reason=said)
            wait = float("inf") if error.final else settings.topic_check_seconds
        except Exception as error:
            health.down(name, f"{type(error).__name__}: {error}")
            attempt = 0 if time.monotonic() - started > _STEADY_SECONDS else attempt + 1
            metrics.RESTARTS.labels(kind or name).inc()
            if isinstance(error, _PASSING):
                log.warning("worker_failed", worker=name, attempt=attempt, cause=repr(error))
            else:
                log.exception("worker_failed", worker=name, attempt=attempt)
            wait = min(settings.backoff_max_ms, settings.backoff_ms * 2 ** min(attempt, 20)) / 1000
        await wait_for_stop(stop, wait)


async def _in_its_own_task(work: Awaitable[None]) -> None:
    """aiokafka's connections cancel what waits for them when they close: that ends the work, and must not be taken
    for a cancellation of the supervisor."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait([working])
    finally:
        await cancel_and_wait([working])
    if working.cancelled():
        raise ConnectionError("broken off: a connection to Kafka was closed")
    working.result()


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Returns after so many seconds (inf: never by itself), or as soon as `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), None if seconds == float("inf") else seconds)


async def unless_stopped(work: Awaitable[object], stop: asyncio.Event) -> bool:
    """Waits for the work, or for `stop`, which ends it. Whether the work was done."""
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
