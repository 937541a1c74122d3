"""Checks of arguments that would otherwise pass and mean something else, or fail far from their cause."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

#: The longest timeout of a call (seconds). gRPC takes an endless deadline for one that has passed.
LONGEST_TIMEOUT = 86_400.0
#: What begins the address of a web page, but no target of gRPC.
_SCHEMES = re.compile("(https?|grpcs?)://", re.IGNORECASE)
_METADATA_KEY = re.compile("[0-9a-z_.-]+")
_METADATA_VALUE = re.compile("[ -~]*")


def text(name: str, value: str) -> str:
    """Returns the value of an argument.

    Raises:
        TypeError: it is no text, such as an id that is a number.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; it must be a text, such as {str(value)!r}")
    return value


def texts(name: str, values: Iterable[str]) -> list[str]:
    """Returns the values of an argument.

    Raises:
        TypeError: one is no text, or the argument is a single text, whose characters would be taken for the values.
    """
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} is the single value {values!r}; give a list, such as [{values!r}]")
    return [text(f"{name}[{at}]", value) for at, value in enumerate(values)]


def seconds(name: str, value: float) -> float:
    """Returns a number of seconds.

    Raises:
        ValueError: it is not above 0.
    """
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} is {value}; it must be above 0 seconds")
    return value


def timeout(value: float | None, default: float) -> float:
    """Returns the timeout of a call in seconds: the default if none is given, at most `LONGEST_TIMEOUT`.

    Raises:
        ValueError: it is not a number.
    """
    given = default if value is None else value
    if math.isnan(given):
        raise ValueError(f"timeout is {given}; it must be a number of seconds")
    return min(given, LONGEST_TIMEOUT)


def target(value: str) -> str:
    """Returns the target of a client.

    Raises:
        ValueError: it is empty, or begins like the address of a web page. Its value is not quoted, because an address
            may have a password.
    """
    if not value.strip():
        raise ValueError("target is empty; it must be host:port, such as localhost:50051")
    if found := _SCHEMES.match(value):
        raise ValueError(
            f"target begins with {found[0]!r}; it must be host:port, and credentials=tls() for TLS"
        )
    return value


def metadata(key: str, value: object) -> None:
    """Checks an entry of the metadata. gRPC's own errors do not say which entry is wrong.

    Raises:
        ValueError: HTTP/2 cannot carry it. The value is not quoted, because it may be a secret.
    """
    if not _METADATA_KEY.fullmatch(key):
        raise ValueError(f"the metadata has the key {key!r}; a key has letters, digits, and . _ - only")
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise ValueError(
                f"the metadata {key!r} has a {type(value).__name__}; a key with -bin needs bytes"
            )
    elif not isinstance(value, str) or not _METADATA_VALUE.fullmatch(value):
        raise ValueError(
            f"the metadata {key!r} has a value that HTTP/2 cannot carry; it must be a text of printable ASCII, "
            "without line breaks"
        )
