"""As of when a call asks: now, or, on servers that are set up to measure, a moment that it names.

Ages, idle times, popularity and expiry are then those of that moment. What was recorded is not looked at by its time:
a list as of a moment knows all events that were recorded before it was asked for.
"""

from typing import Any, Final

import grpc

from server.errors import AsOfDisabled, InvalidRequest, Violation
from server.settings import ServerSettings

AS_OF: Final = "recstream-as-of-ms"
"""The key of a call's metadata: Unix milliseconds, in decimal digits."""

_LATEST_MS: Final = 10**14

Context = grpc.aio.ServicerContext[Any, Any]


def as_of(context: Context, settings: ServerSettings) -> int | None:
    """The moment that the call names; None: now. Raises AsOfDisabled, InvalidRequest."""
    named = _named(context)
    if not named:
        return None
    if not settings.as_of:
        raise AsOfDisabled(AS_OF)
    if len(named) > 1:
        raise InvalidRequest([Violation(AS_OF, f"is named {len(named)} times; name one moment")])
    text = named[0]
    if (
        not (text.isascii() and text.isdigit() and len(text) <= len(str(_LATEST_MS)))
        or int(text) > _LATEST_MS
    ):
        raise InvalidRequest([Violation(AS_OF, f"is {text[:40]!r}; it must be Unix milliseconds")])
    return int(text)


def only_now(context: Context) -> None:
    """For calls that go on in time. Raises InvalidRequest where one names a moment."""
    if _named(context):
        raise InvalidRequest([Violation(AS_OF, "is for single answers; a stream is always of now")])


def _named(context: Context) -> list[str]:
    values = [value for key, value in context.invocation_metadata() or () if key == AS_OF]
    return [value.decode("ascii", "replace") if isinstance(value, bytes) else value for value in values]
