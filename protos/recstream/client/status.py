"""Maps gRPC statuses to the tree of `errors`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from recstream.client import errors

_T = TypeVar("_T")

#: The variables by which gRPC finds a proxy, in its order. It does not read them in capitals.
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_KINDS: dict[grpc.StatusCode, type[errors.RecstreamError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequest,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotAllowed,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ALREADY_EXISTS: errors.FailedPrecondition,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.ABORTED: errors.Unavailable,
    # A proxy or an overloaded server ended the call. A cancellation by the caller stays an asyncio.CancelledError.
    grpc.StatusCode.CANCELLED: errors.Unavailable,
}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def from_status(status: status_pb2.Status) -> errors.RecstreamError:
    """Returns the error for a `google.rpc.Status`, with its BadRequest, ErrorInfo and RetryInfo."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    reason = ""
    metadata: dict[str, str] = {}
    violations: list[errors.FieldViolation] = []
    retry_after: float | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            violations += [
                errors.FieldViolation(v.field, v.description) for v in bad_request.field_violations
            ]
        elif detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    details = errors.ErrorDetails(code, reason, MappingProxyType(metadata), tuple(violations), retry_after)
    message = status.message or f"the server answered {code.name} without a message"
    return _KINDS.get(code, errors.ServerError)(message, details)


def from_rpc_error(error: grpc.aio.AioRpcError) -> errors.RecstreamError:
    """Returns the error for a failed call, with the message of its status."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has the methods that are called
    except Exception:  # details that do not parse, or that contradict the status, must not hide the status
        status = None
    if status is None:
        status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    return from_status(status)


async def outcome(make: Callable[[], Awaitable[_T]], target: str) -> _T | errors.RecstreamError:
    """Awaits a call, or a message of it. Returns its result or its error.

    The error is without its frames, because they hold the call, and a call holds its connection.

    Args:
        make: makes what is awaited.
        target: what the client calls, for errors.

    Raises:
        asyncio.CancelledError: the caller is cancelled. grpc.aio also raises it if the server or a proxy ended the call
            with CANCELLED, which must not be mistaken for that, and is returned as an error.
    """
    try:
        return await make()
    except grpc.aio.AioRpcError as failure:
        error = _with_target(from_rpc_error(failure), target)
        error.__cause__ = failure.with_traceback(None)
        return error
    except asyncio.CancelledError as cancellation:
        if _is_cancelled():
            raise cancellation.with_traceback(None) from None
        return errors.Unavailable(
            f"{target}, or a proxy before it, cancelled the call",
            errors.ErrorDetails(code=grpc.StatusCode.CANCELLED),
        )


def _with_target(error: errors.RecstreamError, target: str) -> errors.RecstreamError:
    """Says what an error is about that the channel made itself. A server of recstream gives its errors a reason."""
    if error.reason:
        return error
    if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in error.message:
        # Another try would fail too.
        return errors.InvalidRequest(
            f"a message of the call is too large: {error.message}; send less, or ask for less", error.details
        )
    if error.code is grpc.StatusCode.UNAVAILABLE:
        return errors.Unavailable(
            f"{target} cannot be reached: {error.message}; check the host name and the port, that the server runs, and "
            f"whether it expects TLS{_proxy_hint()}",
            error.details,
        )
    if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded(f"{target} did not answer within the deadline", error.details)
    return error


def _proxy_hint() -> str:
    """What to add where gRPC may have called a proxy instead, which its error does not say."""
    name = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
    if name is None:
        return ""
    return f". gRPC uses the proxy of {name}, unless no_proxy lists the host"


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
