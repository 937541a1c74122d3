"""Restarts children that die, with back-off, a bounded number of times."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from local.errors import LocalError, PartKeepsDying
from local.servers.process import Process
from telemetry.background import BackOff

_POLL_SECONDS = 0.2
_STEADY_SECONDS = 60.0
_BACK_OFF = BackOff(initial=0.5, maximum=30.0, jitter=0.0, steady=_STEADY_SECONDS)
_DEATHS = 8


class Child(Protocol):
    """A child that can be supervised."""

    process: Process

    async def start(self) -> None:
        """Starts the child and waits until it is ready. Raises LocalError."""

    async def stop(self) -> None:
        """Stops the child."""


class _Died(Exception):
    """A child that should run does not run."""


@dataclass(slots=True)
class _State:
    """The state of one child.

    Attributes:
        wanted: Whether it should run.
        started: The time of its last start, monotonic seconds.
        lock: Held while it is started or stopped.
    """

    wanted: bool = False
    started: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Supervision:
    """Knows which children should run. `watch` restarts those that do not."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._states: dict[str, _State] = {}

    async def start(self, name: str, child: Child) -> None:
        """Starts a child, unless it runs. Raises LocalError."""
        state = self._states.setdefault(name, _State())
        async with state.lock:
            if child.process.running:
                return
            await child.start()
            state.wanted, state.started = True, time.monotonic()

    async def stop(self, name: str, child: Child) -> None:
        """Stops a child. `watch` leaves it stopped."""
        state = self._states.setdefault(name, _State())
        state.wanted = False
        async with state.lock:
            await child.stop()

    async def watch(self, children: Mapping[str, Child]) -> None:
        """Keeps the children running until it is cancelled.

        A child that dies is restarted after 0.5 s. The pause doubles up to 30 s, and starts over at 0.5 s once the
        child has run for a minute.

        Raises:
            PartKeepsDying: A child was restarted eight times in a row, and died again within a minute each time.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for name, child in children.items():
                    group.create_task(self._keep_running(name, child), name=name)
        except BaseExceptionGroup as failed:
            fatal, _ = failed.split(PartKeepsDying)
            # The group is the error's context already. As its cause it would add nothing.
            raise fatal.exceptions[0] if fatal else failed  # noqa: B904

    async def _keep_running(self, name: str, child: Child) -> None:
        state = self._states.setdefault(name, _State())
        deaths = 0
        async for attempt in _BACK_OFF.attempts():
            with attempt:
                if deaths:
                    await self._start_again(name, child, state)
                await _wait_for_death(child, state)
                deaths = 1 if time.monotonic() - state.started > _STEADY_SECONDS else deaths + 1
                status = child.process.exit_code
                if deaths <= _DEATHS:
                    self._report(name, f"ended with status {status}; it is started again")
                    raise _Died
            if deaths > _DEATHS:
                raise PartKeepsDying(name, deaths, status, child.process.log, child.process.tail())

    async def _start_again(self, name: str, child: Child, state: _State) -> None:
        async with state.lock:
            if not state.wanted or child.process.running:
                return
            try:
                await child.start()
            except LocalError as error:
                self._report(name, f"did not start: {str(error).splitlines()[0]}")
                return
            state.started = time.monotonic()
        self._report(name, "runs again")


async def _wait_for_death(child: Child, state: _State) -> None:
    # This polls, because another event loop may have started the process.
    while not state.wanted or child.process.running or state.lock.locked():  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
