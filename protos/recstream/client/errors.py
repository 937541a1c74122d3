"""What can go wrong, as one tree: every error that the client raises is a `RecstreamError`.

RecstreamError
+-- InvalidRequest       the request itself is at fault: see `violations`
+-- NotFound             the item is not known
+-- NotAllowed           no or wrong credentials, or not permitted
+-- FailedPrecondition   the system is not in a state for this; `reason` says why
+-- DeadlineExceeded     no answer inside the timeout
+-- Unavailable          the server cannot be reached or is draining: try again, after `retry_after`
|   +-- Overloaded       the server has as much as it can carry
|   +-- GoingAway        the server is about to end a stream, which is then opened again by itself
+-- ServerError          the server failed; its log has the cause
+-- ProtocolViolation    the server broke the contract (a gap in sequence numbers, a bad delta)
+-- ClientClosed         the client was used after it was closed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

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
    """What the server said about an error, beside its message.

    Attributes:
        code: the gRPC status code; None where no call was made.
        reason: a constant name for the cause (ErrorInfo), such as `ITEM_UNKNOWN`; empty if none was given.
        metadata: facts about the cause (ErrorInfo).
        violations: the fields at fault (BadRequest).
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
        """The gRPC status code; None where no call was made."""
        return self.details.code

    @property
    def reason(self) -> str:
        """A constant name for the cause; empty if the server gave none."""
        return self.details.reason


class InvalidRequest(RecstreamError):
    """The request is at fault; the same request will fail again."""

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """Each field at fault and what is wrong with it; empty if the server named none."""
        return self.details.violations

    def __str__(self) -> str:
        if not self.violations:
            return self.message
        listed = "; ".join(f"{each.field}: {each.description}" for each in self.violations)
        return f"{self.message} ({listed})"


class NotFound(RecstreamError):
    """What was asked for does not exist."""


class NotAllowed(RecstreamError):
    """The credentials are missing, wrong, or do not permit the call."""


class FailedPrecondition(RecstreamError):
    """The system is not in a state for this call."""


class DeadlineExceeded(RecstreamError):
    """There was no answer inside the timeout. A write may or may not have happened."""


class Unavailable(RecstreamError):
    """The server cannot be reached, or is about to go away."""

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before another try; None if the server named none."""
        return self.details.retry_after


class Overloaded(Unavailable):
    """The server carries as much as it can; it names a delay."""


class GoingAway(Unavailable):
    """The server said that it is about to end the stream, and when to come back."""


class ServerError(RecstreamError):
    """The server failed. Its log has the cause."""


class ProtocolViolation(RecstreamError):
    """The server broke the contract."""


class ClientClosed(RecstreamError):
    """The client was used after it was closed."""
