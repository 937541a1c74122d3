"""The span of a call. A stream has none, because the span would last as long as the stream is open."""

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
# Codes that are not the caller's fault.
_FAULTS: Final = ("UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED")


def call(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AbstractContextManager[Followed | None]:
    """Trace a call while inside.

    A unary call gets a span. On a stream, each recorded event and each slate that an event leads to get spans, as
    children of the caller's span.

    Args:
        method: The method's name, without its service.
        context: The context of the call.
    """
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
    """Add the status code of an ended call to its span."""
    followed.note("rpc.response.status_code", code)
    if code in _FAULTS:
        followed.failed(code)


def _parent(context: grpc.aio.ServicerContext[Any, Any]) -> SpanContext | None:
    """The span in the caller's metadata. The last one counts, because instrumentations of gRPC append their own."""
    found = [value for name, value in context.invocation_metadata() or () if name == TRACEPARENT]
    return parse(found[-1]) if found else None
