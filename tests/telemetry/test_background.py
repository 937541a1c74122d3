"""A background task that fails is restarted, or ends the process, as the list says."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import stamina
from structlog.testing import capture_logs

from telemetry.background import RESTARTS, BackgroundTask, BackOff, OnFailure, TaskFailed, run_background

QUICK = BackOff(initial=0.001, maximum=0.002, jitter=0.001)


def restarts(task: str) -> float:
    return RESTARTS.labels(task)._value.get()


def failing(times: int, failure: BaseException, runs: list[int]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        runs.append(1)
        if len(runs) <= times:
            raise failure

    return run


async def for_ever() -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize(
    "failure", [ValueError("x"), MemoryError("x"), OSError("x"), asyncio.CancelledError()], ids=repr
)
async def test_a_retried_task_runs_until_it_returns_and_each_restart_is_counted(
    failure: BaseException,
) -> None:
    runs: list[int] = []
    before = restarts("some")
    task = BackgroundTask("some", failing(3, failure, runs), OnFailure.RETRY, back_off=QUICK)
    with capture_logs() as logs:
        await asyncio.wait_for(run_background([task]), 30)
    assert len(runs) == 4 and restarts("some") == before + 3
    said = [line for line in logs if line["event"] == "background_task_failed"]
    assert len(said) == len(logs) == 3 and all(line["task"] == "some" and line["cause"] for line in said)


async def test_an_expected_failure_is_one_line_and_a_bug_is_logged_with_its_traceback() -> None:
    for expected, level in (((OSError,), "warning"), ((), "error")):
        task = BackgroundTask("some", failing(1, ConnectionError("x"), []), OnFailure.RETRY, expected, QUICK)
        with capture_logs() as logs:
            await asyncio.wait_for(run_background([task]), 30)
        (line,) = logs
        assert line["log_level"] == level and ("exc_info" in line) is (level == "error")


@pytest.mark.parametrize("failure", [ValueError("the cause"), asyncio.CancelledError()], ids=repr)
async def test_a_fatal_failure_ends_all_tasks_and_one_line_names_the_task_and_cause(
    failure: BaseException,
) -> None:
    ended = asyncio.Event()

    async def other() -> None:
        try:
            await for_ever()
        finally:
            ended.set()

    tasks = [
        BackgroundTask("other", other, OnFailure.RETRY),
        BackgroundTask("broken", failing(1, failure, []), OnFailure.FATAL),
    ]
    before = restarts("broken")
    with capture_logs() as logs, pytest.raises(TaskFailed, match="broken failed"):
        await asyncio.wait_for(run_background(tasks), 30)
    assert ended.is_set() and restarts("broken") == before
    (line,) = logs
    assert line["event"] == "background_task_ends_the_process" and line["task"] == "broken" and line["cause"]


async def test_at_stop_draining_tasks_are_awaited_and_the_others_cancelled() -> None:
    stop, order = asyncio.Event(), list[str]()

    async def drains() -> None:
        await stop.wait()
        await asyncio.sleep(0.05)
        order.append("drained")

    async def reads() -> None:
        try:
            await for_ever()
        finally:
            order.append("cancelled")

    tasks = [
        BackgroundTask("reads", reads, OnFailure.RETRY),
        BackgroundTask("drains", drains, OnFailure.FATAL, drains=True),
    ]
    running = asyncio.create_task(run_background(tasks, stop))
    await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 30)
    assert order == ["drained", "cancelled"]


async def test_cancelling_the_list_ends_every_task() -> None:
    ended: list[str] = []

    def until_cancelled(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            try:
                await for_ever()
            finally:
                ended.append(name)

        return run

    tasks = [BackgroundTask(name, until_cancelled(name), OnFailure.RETRY) for name in ("a", "b")]
    running = asyncio.create_task(run_background(tasks))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize("steady", [0.0, 30.0])
async def test_cancelling_ends_a_task_that_has_run_for_any_time(steady: float) -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)
        await for_ever()

    back_off = BackOff(initial=0.001, maximum=0.002, jitter=0.001, steady=steady)
    running = asyncio.create_task(
        run_background([BackgroundTask("some", run, OnFailure.RETRY, back_off=back_off)])
    )
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    assert runs == [1]


@pytest.mark.parametrize("raised", [KeyError("x"), asyncio.CancelledError()], ids=repr)
async def test_an_error_that_is_not_retried_is_raised_at_once_even_after_a_steady_run(
    raised: BaseException,
) -> None:
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        async for attempt in BackOff(steady=0.0).attempts(unless=(KeyError,)):
            attempts += 1
            with attempt:
                raise raised

    with pytest.raises(type(raised)):
        await work()
    assert attempts == 1


async def test_pauses_grow_to_a_bound_and_start_over_after_a_steady_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    now = 0.0

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("telemetry.background.time.monotonic", lambda: now)
    back_off = BackOff(initial=1, maximum=5, jitter=0, steady=30)
    count = 0
    async for attempt in back_off.attempts():
        count += 1
        with attempt:
            if count == 6:
                now += 31
            if count < 8:
                raise ValueError
            break
    assert pauses == [1, 2, 4, 5, 5, 1, 1]
    assert not stamina.instrumentation.get_on_retry_hooks()


async def test_the_longest_pauses_differ_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """ferd/backoff 8, tenacity 703: once the maximum was reached every pause was the maximum, and all came at once."""
    slept: list[float] = []
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async for attempt in BackOff(initial=1, maximum=5, jitter=2, steady=1e9).attempts():
        pauses.append(sum(slept))
        slept.clear()
        with attempt:
            if len(pauses) > 2000:  # past the powers of two that a float holds
                break
            raise ValueError
    longest = pauses[10:]
    assert all(5 <= pause <= 7 for pause in longest) and max(longest) - min(longest) > 1.5


async def test_a_task_that_loses_a_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka 983: tasks that wait for a cancelled task drop the cancellation that is meant for them."""
    monkeypatch.setattr("telemetry.tasks._AGAIN_SECONDS", 0.05)
    cancelled = 0

    async def run() -> None:
        nonlocal cancelled
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled > 1:
                    raise

    stop = asyncio.Event()
    running = asyncio.create_task(run_background([BackgroundTask("some", run, OnFailure.RETRY)], stop))
    await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 30)
    assert cancelled == 2
