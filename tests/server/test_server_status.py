"""An error says for programs why a call failed, by a reason that the contract lists and the facts that belong to it."""

import pytest
from google.rpc import error_details_pb2
from google.rpc.code_pb2 import Code

from recstream.v1 import error_reason_pb2 as reasons
from recstream.v1.error_reason_pb2 import ErrorReason
from server import errors
from server.requests.status import to_status, unpack

ERRORS = {
    "INVALID_REQUEST": (errors.InvalidRequest([errors.Violation("count", "is negative")]), {}),
    "UNKNOWN_ITEM": (errors.UnknownItem("film-17"), {"item_id": "film-17"}),
    "LIMIT_EXCEEDED": (
        errors.LimitExceeded("streams", "open streams", 7, 5),
        {"limit": "streams", "value": "7"},
    ),
    "STORE_UNAVAILABLE": (errors.NotAvailable(reasons.ERROR_REASON_STORE_UNAVAILABLE, "no answer", 5), {}),
    "DRAINING": (errors.Draining(5), {}),
    "SLOW_CONSUMER": (errors.SlowConsumer(5), {}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_status_has_a_reason_of_the_contract_and_its_facts(name: str) -> None:
    error, facts = ERRORS[name]
    status = to_status(error)
    info = unpack(status, error_details_pb2.ErrorInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (name, "recstream", facts)
    assert f"ERROR_REASON_{info.reason}" in ErrorReason.keys()  # noqa: SIM118  # it is no mapping
    assert status.code not in (Code.OK, Code.UNKNOWN)


def test_every_kind_of_error_has_a_reason() -> None:
    kinds = {type(error) for error, _ in ERRORS.values()}
    assert kinds == set(errors.ServerError.__subclasses__())
