"""A server of the contract that a test scripts: a fake at the edge of the network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from recstream.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    frame_pb2,
    interaction_service_pb2,
    interaction_service_pb2_grpc,
    profile_service_pb2,
    profile_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
    slate_pb2,
)

Unary = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]
Streaming = Callable[[Any, grpc.aio.ServicerContext], AsyncIterator[Any]]


@dataclass
class Seen:
    """A received call."""

    method: str
    request: Any
    metadata: dict[str, str]


@dataclass
class ScriptedServer:
    """Each call of a method plays the next of its scripts. The last script stays.

    `seen` lists the calls. `ended` gets (method, how) when a streaming call ends, where `how` is `finished`,
    `cancelled`, or the name of the error.
    """

    scripts: dict[str, deque[Any]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    ended: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    port: int = 0
    _server: grpc.aio.Server | None = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def play(self, method: str, *scripts: Unary | Streaming) -> None:
        """Sets what the next calls of a method do."""
        self.scripts[method] = deque(scripts)

    def resume_tokens(self) -> list[str]:
        """The resume tokens that streams were opened with, in order."""
        return [request.resume_token for request in self.requests("StreamRecommendations")]

    async def end(self) -> str:
        """Waits for the end of the next streaming call. Returns how it ended."""
        _, how = await asyncio.wait_for(self.ended.get(), 10)
        return how

    def requests(self, method: str) -> list[Any]:
        """Returns the requests for a method, in order."""
        return [each.request for each in self.seen if each.method == method]

    async def start(self) -> None:
        """Starts, on the same port as before if there was one."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers = _handlers(self)
        for service, add in _SERVICES:
            add(_servicer(service, handlers), self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Ends every call at once."""
        if self._server is not None:
            await self._server.stop(None)

    def _next(self, method: str, request: Any, context: grpc.aio.ServicerContext) -> Any:
        metadata = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        self.seen.append(Seen(method, request, metadata))
        scripts = self.scripts[method]
        return scripts.popleft() if len(scripts) > 1 else scripts[0]


_SERVICES = (
    (
        recommendation_service_pb2_grpc.RecommendationServiceServicer,
        recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server,
    ),
    (
        interaction_service_pb2_grpc.InteractionServiceServicer,
        interaction_service_pb2_grpc.add_InteractionServiceServicer_to_server,
    ),
    (
        profile_service_pb2_grpc.ProfileServiceServicer,
        profile_service_pb2_grpc.add_ProfileServiceServicer_to_server,
    ),
    (
        catalog_service_pb2_grpc.CatalogServiceServicer,
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server,
    ),
)
_STREAMING = {"StreamRecommendations", "Session", "RecordStream", "ExportProfile"}


def _handlers(server: ScriptedServer) -> Callable[[str], Any]:
    def unary(method: str) -> Any:
        async def handle(self: object, request: Any, context: grpc.aio.ServicerContext) -> Any:
            return await server._next(method, request, context)(request, context)

        return handle

    def streaming(method: str) -> Any:
        async def handle(self: object, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            how = "finished"
            try:
                async for response in server._next(method, request, context)(request, context):
                    yield response
                # If the client cancels, its requests end as well, perhaps before the cancellation comes.
                await asyncio.sleep(0.02)
            except (asyncio.CancelledError, GeneratorExit):  # where it waited, or had just answered
                how = "cancelled"
                raise
            except BaseException as error:
                how = type(error).__name__
                raise
            finally:
                server.ended.put_nowait((method, how))

        return handle

    return lambda method: streaming(method) if method in _STREAMING else unary(method)


def _servicer(service: type, handler: Callable[[str], Any]) -> Any:
    methods = {name: handler(name) for name in vars(service) if name[0].isupper()}
    return type(service.__name__, (service,), methods)()


def status(code: grpc.StatusCode, message: str, *details: Message) -> status_pb2.Status:
    """Returns a google.rpc.Status with details."""
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    """Returns details that ask the client to come back after so many seconds."""
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(round(seconds * 1000))
    return info


def bad_request(**violations: str) -> error_details_pb2.BadRequest:
    """Returns details that name invalid fields: field path (with `__` for a dot) to what is wrong with it."""
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=name.replace("__", "."), description=text)
            for name, text in violations.items()
        ]
    )


def failing(code: grpc.StatusCode, message: str = "no", *details: Message) -> Unary:
    """Returns a script that ends a unary call with a status."""

    async def script(request: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort_with_status(rpc_status.to_status(status(code, message, *details)))

    return script


def answering(response: Any) -> Unary:
    """Returns a script that answers a unary call."""

    async def script(request: Any, context: grpc.aio.ServicerContext) -> Any:
        return response

    return script


async def hang(request: Any, context: grpc.aio.ServicerContext) -> Any:
    """Returns a script that never answers a unary call."""
    await asyncio.Event().wait()


def slate(*item_ids: str, slate_id: str = "s") -> slate_pb2.Slate:
    """Returns a slate of items with descending scores."""
    return slate_pb2.Slate(
        slate_id=slate_id,
        items=[
            slate_pb2.RankedItem(item_id=item_id, score=1.0 / (place + 1), source="nearest")
            for place, item_id in enumerate(item_ids)
        ],
        profile_revision=7,
        model_version=3,
        tier=slate_pb2.TIER_RANKED,
    )


def snapshot(sequence: int, *item_ids: str, token: str = "", causes: tuple[str, ...] = ()) -> frame_pb2.Frame:
    """Returns a frame with a whole list."""
    return frame_pb2.Frame(
        sequence=sequence,
        snapshot=frame_pb2.Snapshot(slate=slate(*item_ids)),
        resume_token=token,
        caused_by=[frame_pb2.Cause(event_id=event_id) for event_id in causes],
    )


def streaming(
    *frames: frame_pb2.Frame, park: bool = False, error: status_pb2.Status | None = None
) -> Streaming:
    """Returns a script of StreamRecommendations: the frames, then a wait, an error, or the end."""

    async def script(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        for frame in frames:
            yield recommendation_service_pb2.StreamRecommendationsResponse(frame=frame)
        if park:
            await asyncio.Event().wait()
        if error is not None:
            await context.abort_with_status(rpc_status.to_status(error))

    return script


def token(number: int) -> str:
    """Returns a token of a write."""
    return f"token-{number}"


async def take(lists: AsyncIterator[Sequence[slate_pb2.RankedItem]], count: int) -> list[tuple[str, ...]]:
    """Returns the ids of a client's next lists, and leaves the loop over them."""
    taken: list[tuple[str, ...]] = []
    async for each in lists:
        taken.append(tuple(item.item_id for item in each))
        if len(taken) == count:
            break
    return taken


RecommendResponse = recommendation_service_pb2.RecommendResponse
RecordResponse = interaction_service_pb2.RecordResponse
BatchRecordResponse = interaction_service_pb2.BatchRecordResponse
RecordResult = interaction_service_pb2.RecordResult
RecordStreamResponse = interaction_service_pb2.RecordStreamResponse
SessionResponse = recommendation_service_pb2.SessionResponse
GetProfileResponse = profile_service_pb2.GetProfileResponse
PutItemsResponse = catalog_service_pb2.PutItemsResponse
