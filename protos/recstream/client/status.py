"""Maps gRPC statuses to the tree of `errors`."""

from __future__ import annotations

import asyncio
from types import MappingProxyType

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from recstream.client import errors

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
    """Returns the error for a failed call."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has the methods that are called
    except Exception:  # details that do not parse, or that contradict the status, must not hide the status
        status = None
    if status is None:
        status = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    return from_status(status)


def from_cancellation() -> errors.RecstreamError:
    """Returns the error for an `asyncio.CancelledError` from a call. Raises CancelledError if the task is cancelled.

    grpc.aio also raises CancelledError if the server or a proxy ended the call with CANCELLED. The caller must not
    mistake that for the cancellation of its own task.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return errors.Unavailable(
        "the server or a proxy cancelled the call", errors.ErrorDetails(code=grpc.StatusCode.CANCELLED)
    )
