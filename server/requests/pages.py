"""Page tokens: what a paging session has been given, carried by the client and by nobody else.

A token holds the 64-bit hashes of the items already given, so that no page repeats one however ranks move, and is
bound to its user, its request and a time. It is checked for damage, not sealed: whoever forges one hides items from
himself.
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
    """8 bytes for what must not change between pages; the count, `after` and experiments may."""
    same = rpc.RecommendRequest(surface=request.surface, domain=request.domain)
    same.excluded_item_ids.extend(sorted(request.excluded_item_ids))
    if request.HasField("filter"):
        same.filter.CopyFrom(request.filter)
    return hashlib.blake2b(same.SerializeToString(deterministic=True), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Pages:
    """Reads and writes tokens. `now` is in Unix seconds."""

    settings: ServerSettings
    now: Callable[[], float] = time.time

    def earlier_items(self, request: rpc.RecommendRequest) -> frozenset[int]:
        """Hashes of the items on the pages before. Raises InvalidRequest, naming the field and why."""
        if not request.page_token:
            return frozenset()
        try:
            raw = base64.b64decode(request.page_token.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, UnicodeEncodeError) as error:
            raise _refused(
                "is not one of ours: pass next_page_token of the page before, unchanged"
            ) from error
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        if len(body) < _HEAD.size or (len(body) - _HEAD.size) % 8 or check != _hash(body):
            raise _refused("is damaged: pass next_page_token of the page before, unchanged")
        version, expires, user, asked = _HEAD.unpack_from(body)
        if version != 1:
            raise _refused("is of a version that this server does not know: start again without it")
        if user != _hash(request.user_id.encode()):
            raise _refused("belongs to another user")
        if asked != fingerprint(request):
            raise _refused(
                "belongs to another request: surface, domain, filter and excluded_item_ids must stay the same"
            )
        if self.now() > expires:
            raise _refused(
                f"has expired; tokens live {self.settings.page_seconds:g} s: start again without it"
            )
        return frozenset(struct.unpack_from(f">{(len(body) - _HEAD.size) // 8}Q", body, _HEAD.size))

    def next(
        self, request: rpc.RecommendRequest, earlier: frozenset[int], given: Iterable[str], remaining: int
    ) -> str:
        """The token for the page after this one; empty at the end: nothing remains, or the session is full."""
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
