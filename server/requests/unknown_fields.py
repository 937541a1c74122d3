"""Counts requests with fields that this server does not know. They are answered without them."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from telemetry.unknown_fields import REQUEST, names_in, note

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class CountUnknownFields(grpc.aio.ServerInterceptor):
    """Looks through each message of a client when it is parsed. Filters and rules among them are refused later, by
    `server.requests.validation`."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        return handler._replace(request_deserializer=_counting(handler.request_deserializer))  # type: ignore[attr-defined, no-any-return]


def _counting(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message]:
    def parse_and_count(value: bytes) -> Message:
        request = parse(value)
        note(REQUEST, [f"{request.DESCRIPTOR.name}.{name}" for name in names_in(request)])
        return request

    return parse_and_count
