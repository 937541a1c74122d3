"""InteractionService."""

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from profiles.folding.events import Position
from recstream.v1 import interaction_pb2
from recstream.v1 import interaction_service_pb2 as rpc
from recstream.v1.interaction_service_pb2_grpc import InteractionServiceServicer
from server.requests import validation
from server.requests.admission import Admission
from server.requests.deadline import deadline
from server.requests.status import answer
from server.requests.task_group import run_task_group
from server.settings import ServerSettings
from server.tokens.written import WriteTokens
from server.writes.recording import Recording
from server.writes.upload import Answer, Upload, Written

Context = grpc.aio.ServicerContext[Any, Any]
_LEAVE_SECONDS = 2.0


class _Done(Exception):
    """The client has no more events, and each has its answer."""


@dataclass(frozen=True)
class InteractionService(InteractionServiceServicer):
    """Records events, for backends that do not write to Kafka themselves."""

    recording: Recording
    tokens: WriteTokens
    admission: Admission
    settings: ServerSettings

    async def Record(self, request: rpc.RecordRequest, context: Context) -> rpc.RecordResponse:
        until = writing_deadline(context, self.settings)
        return await answer("Record", context, lambda: self._record(request, until))

    async def BatchRecord(self, request: rpc.BatchRecordRequest, context: Context) -> rpc.BatchRecordResponse:
        until = writing_deadline(context, self.settings)
        return await answer("BatchRecord", context, lambda: self._batch_record(request, until))

    async def RecordStream(  # type: ignore[override]
        self, request_iterator: AsyncIterator[rpc.RecordStreamRequest], context: Context
    ) -> None:
        await answer("RecordStream", context, lambda: self._record_stream(request_iterator, context))

    async def _record(self, request: rpc.RecordRequest, until: float) -> rpc.RecordResponse:
        with self.admission.call():
            position = await self.recording.record(request.interaction, until)
            return rpc.RecordResponse(token=self.tokens.of_events(request.interaction.user_id, [position]))

    async def _batch_record(self, request: rpc.BatchRecordRequest, until: float) -> rpc.BatchRecordResponse:
        answers: list[Answer] = []

        async def keep(given: Answer) -> None:
            answers.append(given)

        with self.admission.call():
            validation.batch(request.interactions)
            await Upload(self.recording, self.settings, keep, until=until).run(_each(request.interactions))
            return rpc.BatchRecordResponse(results=self._results(answers))

    async def _record_stream(
        self, requests: AsyncIterator[rpc.RecordStreamRequest], context: Context
    ) -> None:
        async def respond(given: Answer) -> None:
            (result,) = self._results([given])
            await context.write(rpc.RecordStreamResponse(result=result))

        upload = Upload(self.recording, self.settings, respond)

        async def up() -> None:
            await upload.run(_interactions(requests))
            raise _Done

        async def until_closed() -> None:
            await self.admission.closed.wait()
            await upload.leave(self.admission.delay_ms(), _LEAVE_SECONDS)

        with self.admission.stream(), suppress(_Done):
            await run_task_group(up(), until_closed())

    def _results(self, answers: Sequence[Answer]) -> list[rpc.RecordResult]:
        """Return the results of events. The token of each event covers all of its user's events."""
        positions: dict[str, list[Position]] = {}
        for given in answers:
            if isinstance(given, Written):
                positions.setdefault(given.user_id, []).append(given.position)
        tokens = {user_id: self.tokens.of_events(user_id, each) for user_id, each in positions.items()}
        return [
            rpc.RecordResult(token=tokens[given.user_id])
            if isinstance(given, Written)
            else rpc.RecordResult(refused=given)
            for given in answers
        ]


async def _interactions(
    requests: AsyncIterator[rpc.RecordStreamRequest],
) -> AsyncIterator[interaction_pb2.Interaction]:
    async for request in requests:
        yield request.interaction


async def _each(
    interactions: Iterable[interaction_pb2.Interaction],
) -> AsyncIterator[interaction_pb2.Interaction]:
    for interaction in interactions:
        yield interaction


def writing_deadline(context: Context, settings: ServerSettings) -> float:
    """Return when a write stops waiting for Kafka, on `time.monotonic()`.

    This is the client's deadline less the time reserved for the answer, or the settings' timeout if it is earlier.
    """
    own = time.monotonic() + settings.record_timeout_ms / 1000
    remaining = context.time_remaining()
    return own if remaining is None else min(own, deadline(remaining, settings).answer)
