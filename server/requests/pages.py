"""Page tokens: the state of a paging session, which only the client keeps.

A token has the 64-bit hashes of the items on earlier pages, so that no page repeats an item even if the ranking
changes. It is valid for one user, one request and a limited time. A checksum detects damage. There is no signature,
because a client that forges a token only hides items from itself.
"""

import base64
import hashlib
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from profiles.folding.tail import hash64
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import InvalidRequest, Violation
from server.settings import ServerSettings

_HEAD = struct.Struct(">BQ8s8s")  # version, expiry in seconds, user, request
_CHECK_BYTES = 8
_FIELD = "page_token"


def fingerprint(request: rpc.RecommendRequest) -> bytes:
    """Return 8 bytes that identify the fields that must not change between pages.

    The count, `after` and experiments may change.
    """
    same = rpc.RecommendRequest(
        surface=request.surface, domain=request.domain, filter_text=request.filter_text
    )
    same.excluded_item_ids.extend(sorted(request.excluded_item_ids))
    if request.HasField("filter"):
        same.filter.CopyFrom(request.filter)
    return hashlib.blake2b(same.SerializeToString(deterministic=True), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Pages:
    """Reads and writes page tokens.

    Attributes:
        settings: How long tokens are valid, and how many items they may have.
        now: The wall clock, Unix seconds.
    """

    settings: ServerSettings
    now: Callable[[], float] = time.time

    def earlier_items(self, request: rpc.RecommendRequest) -> frozenset[int]:
        """Return the hashes of the items on earlier pages.

        Raises:
            InvalidRequest: The token is damaged, has expired, or belongs to another user or request.
        """
        if not request.page_token:
            return frozenset()
        try:
            raw = base64.b64decode(request.page_token.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, UnicodeEncodeError) as error:
            raise _refused(
                "is not a token of this service: pass next_page_token of the page before, unchanged"
            ) from error
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        if len(body) < _HEAD.size or (len(body) - _HEAD.size) % 8 or check != _hash(body):
            raise _refused("is damaged: pass next_page_token of the page before, unchanged")
        version, expires, user, asked = _HEAD.unpack_from(body)
        if version != 1:
            raise _refused("has a version that this server does not know: start again without it")
        if user != _hash(request.user_id.encode()):
            raise _refused("belongs to another user")
        if asked != fingerprint(request):
            raise _refused(
                "belongs to another request: surface, domain, filter, filter_text and excluded_item_ids must stay the "
                "same"
            )
        if self.now() > expires:
            raise _refused(
                f"has expired; tokens are valid for {self.settings.page_seconds:g} s: start again without it"
            )
        return frozenset(struct.unpack_from(f">{(len(body) - _HEAD.size) // 8}Q", body, _HEAD.size))

    def next(
        self, request: rpc.RecommendRequest, earlier: frozenset[int], given: Iterable[str], remaining: int
    ) -> str:
        """Return the token of the next page.

        Args:
            request: The request of this page.
            earlier: Hashes of the items on earlier pages.
            given: Ids of the items on this page.
            remaining: How many candidates are left.

        Returns:
            The token. Empty if no candidates are left or the session is full.
        """
        hashes = sorted(earlier | {hash64(item_id) for item_id in given})
        if remaining <= 0 or len(hashes) >= self.settings.page_items:
            return ""
        expires = int(self.now() + self.settings.page_seconds)
        body = _HEAD.pack(1, expires, _hash(request.user_id.encode()), fingerprint(request))
        body += struct.pack(f">{len(hashes)}Q", *hashes)
        return base64.urlsafe_b64encode(body + _hash(body)).decode()


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _refused(problem: str) -> InvalidRequest:
    return InvalidRequest([Violation(_FIELD, problem)])
