"""Statuses become errors of the tree."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from recstream.client import (
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Overloaded,
    RecstreamError,
    ServerError,
    Unavailable,
)
from recstream.client.status import from_rpc_error, from_status
from tests.client.scripted_server import bad_request, retry_info, status

Code = grpc.StatusCode
KINDS = {
    Code.INVALID_ARGUMENT: InvalidRequest,
    Code.OUT_OF_RANGE: InvalidRequest,
    Code.NOT_FOUND: NotFound,
    Code.UNAUTHENTICATED: NotAllowed,
    Code.PERMISSION_DENIED: NotAllowed,
    Code.FAILED_PRECONDITION: FailedPrecondition,
    Code.ALREADY_EXISTS: FailedPrecondition,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.RESOURCE_EXHAUSTED: Overloaded,
    Code.UNAVAILABLE: Unavailable,
    Code.ABORTED: Unavailable,
    Code.CANCELLED: Unavailable,
    Code.INTERNAL: ServerError,
    Code.UNKNOWN: ServerError,
    Code.UNIMPLEMENTED: ServerError,
    Code.DATA_LOSS: ServerError,
}


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_status_has_its_error(code: grpc.StatusCode):
    error = from_status(status(code, "what happened"))
    assert type(error) is KINDS[code]
    assert error.code is code
    assert str(error) == "what happened"


def test_a_status_of_a_newer_grpc_is_a_server_error():
    assert type(from_status(status_pb2.Status(code=99, message="new"))) is ServerError


def test_all_details_are_read_in_any_order_and_unknown_ones_are_ignored():
    info = error_details_pb2.ErrorInfo(reason="PAGE_EXPIRED", domain="recstream", metadata={"age": "3h"})
    other = error_details_pb2.DebugInfo(detail="not for clients")
    error = from_status(
        status(
            Code.INVALID_ARGUMENT, "no", other, retry_info(1.25), info, bad_request(page_token="is too old")
        )
    )
    assert isinstance(error, InvalidRequest)
    assert error.reason == "PAGE_EXPIRED"
    assert error.details.metadata == {"age": "3h"}
    assert error.violations == (FieldViolation("page_token", "is too old"),)
    assert error.details.retry_after == 1.25


def test_an_overload_is_also_an_unavailability():
    error = from_status(status(Code.RESOURCE_EXHAUSTED, "full", retry_info(2)))
    assert isinstance(error, Unavailable)
    assert error.retry_after == 2


@pytest.mark.parametrize(
    "trailer", [b"\xff\xfe not a status", status(Code.NOT_FOUND, "another code").SerializeToString(), None]
)
def test_details_that_contradict_the_status_do_not_hide_it(trailer: bytes | None):
    trailing = grpc.aio.Metadata(*([("grpc-status-details-bin", trailer)] if trailer else []))
    failure = grpc.aio.AioRpcError(Code.UNAVAILABLE, grpc.aio.Metadata(), trailing, details="gone")
    error = from_rpc_error(failure)
    assert type(error) is Unavailable
    assert str(error) == "gone"


def test_one_except_catches_everything():
    assert all(issubclass(kind, RecstreamError) for kind in KINDS.values())
