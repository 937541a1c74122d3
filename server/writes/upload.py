"""Uploads: a client sends many events, and gets answers in order, with a bounded number of events unanswered."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from google.rpc import status_pb2

from profiles.folding.events import Position
from recstream.v1 import interaction_pb2
from server.errors import Draining, InvalidRequest, NotAvailable, SlowConsumer, Violation
from server.requests.status import to_status
from server.requests.task_group import run_task_group
from server.settings import ServerSettings
from server.writes.log_writer import Appending
from server.writes.recording import Recording


@dataclass(frozen=True, slots=True)
class Written:
    """An event that Kafka has: its user, and where it is."""

    user_id: str
    position: Position


@dataclass(frozen=True, slots=True)
class _Started:
    """An event that was passed to the producer. until: when to stop waiting for Kafka, on `time.monotonic()`."""

    user_id: str
    appending: Appending
    until: float


Answer: TypeAlias = Written | status_pb2.Status
_Waiting: TypeAlias = _Started | status_pb2.Status


class Upload:
    """The events of one client. When too many are unanswered, no more are read, and the client has to wait.

    Args:
        recording: Writes events to the log.
        settings: How many events may be unanswered, and how long a client may not read.
        answer: Sends an answer to the client.
        user_id: The user of all events. Events without a user get this one. Empty: events may be of any user.
        until: When to stop waiting for Kafka whatever its settings allow, on `time.monotonic()`.
    """

    def __init__(
        self,
        recording: Recording,
        settings: ServerSettings,
        answer: Callable[[Answer], Awaitable[None]],
        user_id: str = "",
        until: float = math.inf,
    ) -> None:
        self._recording = recording
        self._answer = answer
        self._user_id = user_id
        self._until = until
        self._slow_seconds = settings.slow_consumer_seconds
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue(settings.records_in_flight)
        self._leaving_ms: int | None = None

    async def run(self, events: AsyncIterator[interaction_pb2.Interaction]) -> None:
        """Run until the client has no more events and each has its answer.

        The answer to an event that is refused, or that Kafka does not acknowledge in time, is the status that Record
        would return.

        Raises:
            SlowConsumer: The client does not read.
        """
        await run_task_group(self._read(events), self._answers())

    async def leave(self, after_ms: int, seconds: float) -> None:
        """Accept no more events, and wait for the answers to those that were accepted.

        Args:
            after_ms: Delay before the client reconnects, in milliseconds.
            seconds: How long to wait at most.

        Raises:
            Draining: Always, at the end.
        """
        self._leaving_ms = after_ms
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            pass  # The client sends them again, with the same event ids.
        raise Draining(after_ms)

    async def _read(self, events: AsyncIterator[interaction_pb2.Interaction]) -> None:
        async for event in events:
            await self._waiting.put(await self._begin(event))
        await self._waiting.put(None)

    async def _begin(self, event: interaction_pb2.Interaction) -> _Waiting:
        if self._leaving_ms is not None:
            return to_status(Draining(self._leaving_ms))
        until = min(self._recording.patience(), self._until)
        try:
            if self._user_id:
                if event.user_id not in ("", self._user_id):
                    raise InvalidRequest([Violation("interaction.user_id", "is not the session's user")])
                event.user_id = self._user_id
            return _Started(event.user_id, await self._recording.start(event, until), until)
        except (InvalidRequest, NotAvailable) as refusal:
            return to_status(refusal)

    async def _answers(self) -> None:
        while (waiting := await self._waiting.get()) is not None:
            answer: Answer
            if isinstance(waiting, status_pb2.Status):
                answer = waiting
            else:
                try:
                    position = await self._recording.finish(waiting.appending, waiting.until)
                    answer = Written(waiting.user_id, position)
                except NotAvailable as failure:
                    answer = to_status(failure)
            try:
                async with asyncio.timeout(self._slow_seconds):
                    await self._answer(answer)
            except TimeoutError as error:
                raise SlowConsumer(self._slow_seconds) from error
            self._waiting.task_done()
