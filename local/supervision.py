"""Children that die are started again, with back-off, a bounded number of times."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from configuration.errors import CommandError
from local.servers.errors import EmbeddedError
from local.servers.process import Process

_LOOK_SECONDS = 0.2
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0
_SETTLED_SECONDS = 60.0
_DEATHS = 8


class Child(Protocol):
    """What can be supervised."""

    process: Process

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises EmbeddedError."""

    async def stop(self) -> None:
        """Stop it."""


@dataclass(slots=True)
class _State:
    """wanted: whether it should run. deaths: since it last ran for a minute. next: earliest start, monotonic."""

    wanted: bool = False
    deaths: int = 0
    started: float = 0.0
    next: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Supervision:
    """Knows which children should run; `watch` sees to it that they do."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._states: dict[str, _State] = {}

    async def start(self, name: str, child: Child) -> None:
        """Start a child that does not run. Raises EmbeddedError."""
        state = self._states.setdefault(name, _State())
        async with state.turn:
            if child.process.running:
                return
            await child.start()
            state.wanted, state.started = True, time.monotonic()

    async def stop(self, name: str, child: Child) -> None:
        """Stop a child, and let it be."""
        state = self._states.setdefault(name, _State())
        state.wanted = False
        async with state.turn:
            await child.stop()

    async def watch(self, children: Mapping[str, Child]) -> None:
        """Until cancelled. A child that dies is said and started again after 0.5 s, doubling to 30 s; one that
        dies eight times without a minute in between raises CommandError."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._watch(children, group)
        except BaseExceptionGroup as failed:
            fatal, _ = failed.split(CommandError)
            # The group is the error's context already, and says nothing more as its cause.
            raise fatal.exceptions[0] if fatal else failed  # noqa: B904

    async def _watch(self, children: Mapping[str, Child], group: asyncio.TaskGroup) -> None:
        restarts: dict[str, asyncio.Task[None]] = {}
        while True:
            for name, child in list(children.items()):
                state = self._states.setdefault(name, _State())
                if not state.wanted or child.process.running or state.turn.locked():
                    continue
                if (task := restarts.get(name)) is None or task.done():
                    restarts[name] = group.create_task(self._revive(name, child, state))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _revive(self, name: str, child: Child, state: _State) -> None:
        now = time.monotonic()
        if now - state.started > _SETTLED_SECONDS:
            state.deaths = 0
        state.deaths += 1
        how = f"ended with status {child.process.exit_code}"
        if state.deaths > _DEATHS:
            raise CommandError(
                f"{name} {how}, for the {state.deaths}th time in a row. The end of its log:\n{child.process.tail()}",
                f"the whole log is {child.process.log}",
            )
        pause = min(_FIRST_BACKOFF * 2 ** (state.deaths - 1), _LONGEST_BACKOFF)
        self._report(name, f"{how}; starting it again in {pause:g} s")
        await asyncio.sleep(pause)
        async with state.turn:
            if not state.wanted or child.process.running:
                return
            try:
                await child.start()
            except EmbeddedError as error:
                self._report(name, f"did not start: {str(error).splitlines()[0]}")
                return
            state.started = time.monotonic()
        self._report(name, "runs again")
