"""Page tokens as text. A checksum detects damage.

There is no signature, because a client that forges a token only hides items from itself.
"""

import base64
import hashlib
from typing import Final

from server.errors import InvalidRequest, Violation

FIELD: Final = "page_token"
_CHECK_BYTES: Final = 8


def seal(body: bytes) -> str:
    """Return the token of these bytes."""
    return base64.urlsafe_b64encode(body + hash8(body)).decode()


def unseal(token: str) -> bytes:
    """Return the bytes of a token.

    Raises:
        InvalidRequest: It is not a token, or is damaged.
    """
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, UnicodeEncodeError) as error:
        raise refused(
            "is not a token of this service: pass next_page_token of the page before, unchanged"
        ) from error
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if check != hash8(body):
        raise refused("is damaged: pass next_page_token of the page before, unchanged")
    return body


def hash8(data: bytes) -> bytes:
    """Return the BLAKE2b hash of 8 bytes."""
    return hashlib.blake2b(data, digest_size=_CHECK_BYTES).digest()


def refused(problem: str) -> InvalidRequest:
    """Return the error for a token with this problem."""
    return InvalidRequest([Violation(FIELD, problem)])
