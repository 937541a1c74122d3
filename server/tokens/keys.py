"""The keys that tokens are sealed with, as a setting gives them."""

import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Final, Self

_LEAST_BYTES: Final = 16
_MOST_BYTES: Final = 64
"""The longest key of BLAKE2b."""
_MOST_NUMBER: Final = 255
_OWN_NUMBER: Final = 0
"""The number of a key that no setting gave, which only its process has."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key, and the number by which a token names it."""

    number: int
    secret: bytes

    def __repr__(self) -> str:
        return f"TokenKey({self.number}, ...)"

    @classmethod
    def random(cls) -> Self:
        """Return a key for the life of this process. No other process has it."""
        return cls(_OWN_NUMBER, secrets.token_bytes(32))


def parse_keys(text: str) -> tuple[TokenKey, ...]:
    """Return the keys of a setting such as `2:q83v...,1:EjRW...`: number and base64, newest first.

    Raises:
        ValueError: The text has no such form. The message has no part of a key.
    """
    keys: list[TokenKey] = []
    for place, part in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        number, colon, encoded = part.partition(":")
        if not colon or not number.isascii() or not number.isdigit() or not 1 <= int(number) <= _MOST_NUMBER:
            raise ValueError(f"key {place} must begin with a number from 1 to {_MOST_NUMBER} and a colon")
        try:
            secret = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"key {place} is not base64 after its colon") from None
        if not _LEAST_BYTES <= len(secret) <= _MOST_BYTES:
            raise ValueError(
                f"key {place} has {len(secret)} bytes; it must have {_LEAST_BYTES} to {_MOST_BYTES}, "
                "as `openssl rand -base64 32` makes"
            )
        if int(number) in {key.number for key in keys}:
            raise ValueError(f"the number of key {place} occurs twice; give each key a number of its own")
        keys.append(TokenKey(int(number), secret))
    if not keys:
        raise ValueError("there is no key in it; leave the setting out for a key of each process's own")
    return tuple(keys)
