"""What the server refuses, and why: one tree of errors, which `requests/status.py` turns into google.rpc.Status."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field of a request.

    Attributes:
        field: The field, as its path in the contract.
        problem: What is wrong with it, as the end of a sentence that begins with the field.
    """

    field: str
    problem: str


class ServerError(Exception):
    """The root of the tree. The message is for the client; the cause, if there is one, is only logged.

    Attributes:
        reason: The reason in google.rpc.ErrorInfo.
        retry_after_ms: When to try again. None: trying again does not help.
    """

    reason = "INTERNAL"
    retry_after_ms: int | None = None


class InvalidRequest(ServerError):
    """A request does not keep to the contract."""

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
    """Something that a request needs does not answer now.

    Args:
        reason: One of a few constants, for google.rpc.ErrorInfo.
        message: For the client.
        retry_after_ms: When to try again.
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
    """The client of a stream reads nothing."""

    reason = "SLOW_CONSUMER"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the client read nothing for {seconds:g} s; open the stream again with the resume token"
        )
        self.retry_after_ms = 0
