"""Converts errors to google.rpc.Status, only here, so that nothing internal leaks."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from recstream.v1.error_reason_pb2 import ERROR_REASON_INTERNAL, ErrorReason
from server import errors, metrics
from server.requests.call_spans import call, ended

log = structlog.get_logger()
T = TypeVar("T")

DOMAIN: Final = "recstream"
DETAILS_KEY: Final = "grpc-status-details-bin"

_CODES: Final[dict[type[errors.ServerError], int]] = {
    errors.InvalidRequest: code_pb2.INVALID_ARGUMENT,
    errors.UnknownSurface: code_pb2.INVALID_ARGUMENT,
    errors.InvalidToken: code_pb2.INVALID_ARGUMENT,
    errors.UnknownItem: code_pb2.NOT_FOUND,
    errors.LimitExceeded: code_pb2.RESOURCE_EXHAUSTED,
    errors.NotAvailable: code_pb2.UNAVAILABLE,
    errors.Draining: code_pb2.UNAVAILABLE,
    errors.SlowConsumer: code_pb2.ABORTED,
}
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class CallStatus(grpc.Status):  # type: ignore[misc, unused-ignore]
    """A status in the form that gRPC's `abort_with_status` takes."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def to_status(error: errors.ServerError) -> status_pb2.Status:
    """Return the status of an error. Its details are ErrorInfo always, BadRequest and RetryInfo if they apply."""
    details: list[Message] = [_info(error.reason, error.facts)]
    if isinstance(error, errors.InvalidRequest):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.problem)
            for v in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_ms is not None:
        delay = Duration()
        delay.FromMilliseconds(error.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=_CODES.get(type(error), code_pb2.INTERNAL), message=str(error))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _info(reason: ErrorReason.ValueType, facts: Mapping[str, str]) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=_name(reason), domain=DOMAIN, metadata=facts)


def _name(reason: ErrorReason.ValueType) -> str:
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def call_status(status: status_pb2.Status) -> CallStatus:
    """Return the status in gRPC's own form."""
    return CallStatus(_BY_NUMBER[status.code], status.message, ((DETAILS_KEY, status.SerializeToString()),))


def unpack(status: status_pb2.Status, kind: type[Message]) -> Message | None:
    """Return the first detail of a type. None: there is none. For tests and logs."""
    detail: AnyMessage
    for detail in status.details:
        found = kind()
        if detail.Unpack(found):
            return found
    return None


async def answer(
    method: str, context: grpc.aio.ServicerContext[Any, Any], work: Callable[[], Awaitable[T]]
) -> T:
    """Run the work of a call. Convert its errors to statuses, and count, time and trace the call.

    An error that is not a ServerError is logged with a number. The client gets INTERNAL with only that number.

    Args:
        method: The method's name, without its service.
        context: The context of the call.
        work: Does the work, and returns the answer.
    """
    code = "OK"
    with call(method, context) as followed:
        try:
            with metrics.CALL_SECONDS_OF[method].time():
                return await work()
        except errors.ServerError as error:
            status = call_status(to_status(error))
            code = status.code.name
            if error.__cause__ is not None:
                log.warning(
                    "call_failed", method=method, reason=_name(error.reason), cause=repr(error.__cause__)
                )
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception:
            number = secrets.token_hex(6)
            code = "INTERNAL"
            log.exception("call_crashed", method=method, number=number)
            crash = status_pb2.Status(code=code_pb2.INTERNAL, message=f"internal error {number}")
            crash.details.add().Pack(_info(ERROR_REASON_INTERNAL, {"number": number}))
            status = call_status(crash)
        finally:
            metrics.CALLS.labels(method, code).inc()
            if followed is not None:
                ended(followed, code)
    await context.abort_with_status(status)
