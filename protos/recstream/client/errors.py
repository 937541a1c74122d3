"""The tree of errors: every error that the client raises is a `RecstreamError`.

RecstreamError
+-- InvalidRequest       the request is invalid: see `violations`
+-- NotFound             the item is unknown
+-- NotAllowed           no or wrong credentials, or no permission
+-- FailedPrecondition   the state of the system does not allow this; `reason` says why
+-- DeadlineExceeded     no answer within the timeout
+-- Unavailable          the server cannot be reached or is draining: try again, after `retry_after`
|   +-- Overloaded       the server is at a limit
|   +-- GoingAway        the server is about to end a stream, which the client then opens again
+-- ServerError          the server failed; its log has the cause
+-- ProtocolViolation    the server broke the contract (a gap in sequence numbers, a bad delta)
+-- ClientClosed         the client was used after it was closed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import grpc


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing that is wrong with a request.

    Attributes:
        field: the path of the field, such as `interaction.user_id`.
        description: what is wrong with it.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """The details of an error that the server sent, besides the message.

    Attributes:
        code: the gRPC status code; None if no call was made.
        reason: a name of recstream.v1.ErrorReason without the prefix (ErrorInfo), such as `UNKNOWN_ITEM`; empty if
            there is none.
        metadata: facts about the cause (ErrorInfo).
        violations: the invalid fields (BadRequest).
        retry_after: seconds to wait before another try (RetryInfo); None if the server named none.
    """

    code: grpc.StatusCode | None = None
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None


class RecstreamError(Exception):
    """The base of all errors of the client. `str(error)` is a sentence for a log."""

    def __init__(self, message: str, details: ErrorDetails | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or ErrorDetails()

    @property
    def code(self) -> grpc.StatusCode | None:
        """The gRPC status code; None if no call was made."""
        return self.details.code

    @property
    def reason(self) -> str:
        """A constant name for the cause; empty if the server sent none."""
        return self.details.reason


class InvalidRequest(RecstreamError):
    """The request is invalid. The same request will fail again."""

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """Each invalid field, and what is wrong with it; empty if the server named none."""
        return self.details.violations

    def __str__(self) -> str:
        # recstream's own messages list them.
        if all(each.description in self.message for each in self.violations):
            return self.message
        listed = "; ".join(f"{each.field}: {each.description}" for each in self.violations)
        return f"{self.message} ({listed})"


class NotFound(RecstreamError):
    """The requested item does not exist."""


class NotAllowed(RecstreamError):
    """The credentials are missing, wrong, or do not permit the call."""


class FailedPrecondition(RecstreamError):
    """The state of the system does not allow this call."""


class DeadlineExceeded(RecstreamError):
    """There was no answer within the timeout. A write may or may not have happened."""


class Unavailable(RecstreamError):
    """The server cannot be reached, or is about to go away."""

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before another try; None if the server named none."""
        return self.details.retry_after


class Overloaded(Unavailable):
    """The server is at a limit. It names a delay."""


class GoingAway(Unavailable):
    """The server is about to end the stream. It says when to reconnect."""


class ServerError(RecstreamError):
    """The server failed. Its log has the cause."""


class ProtocolViolation(RecstreamError):
    """The server broke the contract."""


class ClientClosed(RecstreamError):
    """The client was used after it was closed."""


_Error = TypeVar("_Error", bound=BaseException)


def fresh(error: _Error) -> _Error:
    """Returns an error to raise for one that is kept: a copy without its frames.

    A raised error holds the frames that it passes. If one of them, or the owner of one, kept the error, they would be
    a cycle, and a frame that holds a call would hold its connection. An error of another package is returned as it is.
    """
    if not isinstance(error, RecstreamError):
        return error
    copy = type(error)(error.message, error.details)
    copy.__cause__ = error.__cause__
    return copy
