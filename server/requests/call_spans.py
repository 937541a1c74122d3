"""The span of a call, or the caller's where ours would last as long as a stream is open."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import grpc
from opentelemetry.trace import SpanContext

from recstream.v1 import (
    catalog_service_pb2,
    interaction_service_pb2,
    profile_service_pb2,
    recommendation_service_pb2,
)
from telemetry.tracing import spans
from telemetry.tracing.spans import Followed, Origin, SpanKind
from telemetry.tracing.w3c import TRACEPARENT, parse

_METHODS: Final = {
    method.name: method
    for module in (
        catalog_service_pb2,
        interaction_service_pb2,
        profile_service_pb2,
        recommendation_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_NOTHING: Final = nullcontext()
# Of the codes that we answer with, those that are no fault of the caller.
_FAULTS: Final = ("UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED")


def call(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AbstractContextManager[Followed | None]:
    """Inside, what is done is below the call's span. What a stream is told of has spans of its own: each event that is
    recorded on it, each list that an event leads to."""
    if not spans.on():
        return _NOTHING
    parent = _parent(context)
    found = _METHODS[method]
    if found.client_streaming or found.server_streaming:
        return spans.passing(parent) if parent is not None else _NOTHING
    name = f"{found.containing_service.full_name}/{method}"
    attributes: dict[str, str | int | float | bool] = {"rpc.system.name": "grpc", "rpc.method": name}
    origin = Origin(parent if parent is not None else spans.root(), attributes=attributes)
    return Followed(name, SpanKind.SERVER, [origin])


def ended(followed: Followed, code: str) -> None:
    """The call was answered with this code."""
    followed.note("rpc.response.status_code", code)
    if code in _FAULTS:
        followed.failed(code)


def _parent(context: grpc.aio.ServicerContext[Any, Any]) -> SpanContext | None:
    """What the caller's metadata names. The last: an instrumentation of gRPC adds its own behind the client's."""
    found = [value for name, value in context.invocation_metadata() or () if name == TRACEPARENT]
    return parse(found[-1]) if found else None
