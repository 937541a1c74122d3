"""The server's errors. `requests/status.py` converts them to google.rpc.Status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from recstream.v1 import error_reason_pb2 as reasons
from recstream.v1.error_reason_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class Violation:
    """A problem with one field of a request.

    Attributes:
        field: The path of the field in the request.
        problem: The problem, as the end of a sentence that begins with the field.
    """

    field: str
    problem: str


class ServerError(Exception):
    """Base of the server's errors. The message is for the client. The cause, if there is one, is only logged.

    Attributes:
        reason: The reason.
        facts: The facts that belong to the reason, by name.
        retry_after_ms: Delay before a retry, in milliseconds. None: a retry does not help.
    """

    reason: ErrorReason.ValueType = reasons.ERROR_REASON_INTERNAL
    facts: Mapping[str, str] = MappingProxyType({})
    retry_after_ms: int | None = None


class InvalidRequest(ServerError):
    """A request violates the contract."""

    reason = reasons.ERROR_REASON_INVALID_REQUEST

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.problem}" for v in self.violations[:5]))


class UnknownSurface(InvalidRequest):
    """A request names a surface that there is not. `violations` has the other problems of the request too.

    Args:
        violations: All problems of the request.
        surface: The name.
    """

    reason = reasons.ERROR_REASON_UNKNOWN_SURFACE

    def __init__(self, violations: Sequence[Violation], surface: str) -> None:
        super().__init__(violations)
        self.facts = {"surface": surface}


class InvalidToken(InvalidRequest):
    """A request has a token that is not valid for it.

    Args:
        violations: What is wrong with each of its tokens.
    """

    reason = reasons.ERROR_REASON_INVALID_TOKEN

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(violations)
        self.facts = {"field": violations[0].field}


class UnknownItem(ServerError):
    """The catalogue has no such item."""

    reason = reasons.ERROR_REASON_UNKNOWN_ITEM

    def __init__(self, item_id: str) -> None:
        super().__init__("item_id: the catalogue has no such item")
        self.facts = {"item_id": item_id}


class LimitExceeded(ServerError):
    """A limit of this process is reached."""

    reason = reasons.ERROR_REASON_LIMIT_EXCEEDED

    def __init__(self, limit: str, what: str, value: int, retry_after_ms: int) -> None:
        super().__init__(f"{what}: the limit of {value} is reached; try again after the delay")
        self.facts = {"limit": limit, "value": str(value)}
        self.retry_after_ms = retry_after_ms


class NotAvailable(ServerError):
    """Something that a request depends on does not answer now.

    Args:
        reason: The reason.
        message: The message for the client.
        retry_after_ms: Delay before a retry, in milliseconds.
    """

    def __init__(self, reason: ErrorReason.ValueType, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class Draining(ServerError):
    """This process takes no more calls, or sends a stream away."""

    reason = reasons.ERROR_REASON_DRAINING

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("this server sends its callers away; call again after the delay")
        self.retry_after_ms = retry_after_ms


class SlowConsumer(ServerError):
    """The client of a stream does not read."""

    reason = reasons.ERROR_REASON_SLOW_CONSUMER

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the client read nothing for {seconds:g} s; open the stream again with the resume token"
        )
        self.retry_after_ms = 0
