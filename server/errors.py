"""What the server refuses, and why. One small tree; `status.py` turns it into google.rpc."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of a request, as its path in the contract, and what is wrong with it."""

    field: str
    problem: str


class ServerError(Exception):
    """The root. Its message is written for the client; the cause, if any, is only logged.

    retry_after_ms: when to try again; None: trying again does not help.
    """

    reason = "INTERNAL"
    retry_after_ms: int | None = None


class InvalidRequest(ServerError):
    """The request breaks the contract."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.problem}" for v in self.violations[:5]))


class UnknownItem(ServerError):
    """The catalogue does not know the item."""

    reason = "UNKNOWN_ITEM"

    def __init__(self) -> None:
        super().__init__("item_id: the catalogue knows no such item")


class LimitExceeded(ServerError):
    """A limit of this process is reached."""

    reason = "LIMIT_EXCEEDED"

    def __init__(self, what: str, limit: int, retry_after_ms: int) -> None:
        super().__init__(f"{what}: the limit of {limit} is reached; try again after the delay")
        self.retry_after_ms = retry_after_ms


class NotAvailable(ServerError):
    """Something that the request needs does not answer now. `reason` is one of a few constants."""

    def __init__(self, reason: str, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class Draining(ServerError):
    """This process is about to end."""

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
