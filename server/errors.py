"""The server's errors. `requests/status.py` converts them to google.rpc.Status."""

from collections.abc import Sequence
from dataclasses import dataclass


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
        reason: The reason in google.rpc.ErrorInfo.
        retry_after_ms: Delay before a retry, in milliseconds. None: a retry does not help.
    """

    reason = "INTERNAL"
    retry_after_ms: int | None = None


class InvalidRequest(ServerError):
    """A request violates the contract."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.problem}" for v in self.violations[:5]))


class UnknownItem(ServerError):
    """The catalogue has no such item."""

    reason = "UNKNOWN_ITEM"

    def __init__(self) -> None:
        super().__init__("item_id: the catalogue has no such item")


class LimitExceeded(ServerError):
    """A limit of this process is reached."""

    reason = "LIMIT_EXCEEDED"

    def __init__(self, what: str, limit: int, retry_after_ms: int) -> None:
        super().__init__(f"{what}: the limit of {limit} is reached; try again after the delay")
        self.retry_after_ms = retry_after_ms


class NotAvailable(ServerError):
    """Something that a request depends on does not answer now.

    Args:
        reason: One of a few constants, for google.rpc.ErrorInfo.
        message: The message for the client.
        retry_after_ms: Delay before a retry, in milliseconds.
    """

    def __init__(self, reason: str, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class Draining(ServerError):
    """This process is shutting down."""

    reason = "DRAINING"

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("this server is shutting down; open the stream again after the delay")
        self.retry_after_ms = retry_after_ms


class SlowConsumer(ServerError):
    """The client of a stream does not read."""

    reason = "SLOW_CONSUMER"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the client read nothing for {seconds:g} s; open the stream again with the resume token"
        )
        self.retry_after_ms = 0
