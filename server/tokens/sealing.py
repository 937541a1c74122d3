"""Tokens as text: a body and a keyed hash, so that nobody else can make or change one.

The hash covers what the token is valid for as well: the tenant and, for most kinds, the user. So these need no place in
the token, and a token of another user is refused like a changed one. The body is not encrypted. It has nothing that its
holder must not know.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import Final

from server.tokens.keys import TokenKey

MAX_TOKEN_BYTES: Final = 16 * 1024
"""The longest token that is looked at."""
_FORMAT: Final = 1
_HEAD_BYTES: Final = 3  # format, number of the key, kind
_MAC_BYTES: Final = 16
_PURPOSE: Final = b"recstream-token"


class Kind(IntEnum):
    """What a token is for. The value is in the token."""

    EVENTS = 1
    ITEMS = 2
    LIST_PAGE = 3
    CATALOGUE_PAGE = 4
    STREAM = 5


_NAMES: Final[Mapping[int, str]] = {
    Kind.EVENTS: "events",
    Kind.ITEMS: "items",
    Kind.LIST_PAGE: "a page of a user's list",
    Kind.CATALOGUE_PAGE: "a page of the catalogue",
    Kind.STREAM: "a stream",
}
_OF_A_USER: Final[Collection[int]] = frozenset({Kind.EVENTS, Kind.LIST_PAGE, Kind.STREAM})


class BadToken(Exception):
    """A text is no token, or not one that is valid here. The message is the end of a sentence that begins with it."""


class Sealer:
    """Makes and opens tokens.

    Args:
        keys: The first seals, all open. So a new key is first added to all servers, and then made the first.
        tenant: Whose tokens these are. Tokens of other tenants are refused.
    """

    def __init__(self, keys: Sequence[TokenKey], tenant: str = "") -> None:
        self._first = keys[0]
        self._secrets = {key.number: key.secret for key in keys}
        self._tenant = tenant.encode()

    def seal(self, kind: Kind, body: bytes, user_id: str = "") -> str:
        """Return a token.

        Args:
            kind: What it is for.
            body: What it says.
            user_id: The user that it is valid for. Only for a kind that is of a user.

        Returns:
            ASCII text in the URL-safe base64 alphabet, without padding.
        """
        signed = bytes((_FORMAT, self._first.number, kind)) + body
        return _text(signed + self._mac(self._first.secret, signed, user_id))

    def open(self, token: str, kinds: Collection[Kind], user_id: str = "") -> tuple[Kind, bytes]:
        """Return the kind and the body of a token.

        Args:
            token: The text that a caller gave.
            kinds: The kinds that it may have.
            user_id: The user for whom it has to be valid, if it is of a user.

        Raises:
            BadToken: It is not such a token.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise BadToken(f"is {len(token)} bytes long, the limit is {MAX_TOKEN_BYTES}")
        raw = _bytes(token)
        if len(raw) < _HEAD_BYTES + _MAC_BYTES or raw[0] != _FORMAT:
            raise BadToken("is damaged, or of another release: pass a token as it was given")
        secret = self._secrets.get(raw[1])
        if secret is None:
            raise BadToken(f"is damaged, or was made with key {raw[1]}, which this server does not have")
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(secret, signed, user_id)):
            raise BadToken(
                "is damaged, or belongs to another user or other servers: tokens are valid for the user they were "
                "given for, on servers with the same keys"
            )
        for kind in kinds:
            if kind == raw[2]:
                return kind, signed[_HEAD_BYTES:]
        expected = " or ".join(_NAMES[each] for each in sorted(kinds))
        raise BadToken(f"is the token of {_NAMES.get(raw[2], 'something else')}: pass one of {expected}")

    def _mac(self, secret: bytes, signed: bytes, user_id: str) -> bytes:
        state = hashlib.blake2b(key=secret, digest_size=_MAC_BYTES, person=_PURPOSE)
        of_a_user = signed[2] in _OF_A_USER
        for part in (self._tenant, user_id.encode() if of_a_user else b"", signed):
            state.update(len(part).to_bytes(4, "big"))
            state.update(part)
        return state.digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(token: str) -> bytes:
    """Return the bytes of a text in the only form that `_text` gives."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if _text(raw) != token:
        raise BadToken("is not a token: pass one as it was given")
    return raw
