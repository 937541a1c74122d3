"""Page tokens: the state of a paging session, which only the client keeps.

A token has the 64-bit hashes of the items on earlier pages, so that no page repeats an item even if the ranking
changes. It is valid for one user, one request and a limited time.
"""

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from profiles.folding.tail import hash64
from recstream.v1 import recommendation_service_pb2 as rpc
from server.requests.page_tokens import hash8, refused, seal, unseal
from server.settings import ServerSettings

_HEAD = struct.Struct(">BQ8s8s")  # version, expiry in seconds, user, request


def fingerprint(request: rpc.RecommendRequest) -> bytes:
    """Return 8 bytes that identify the fields that must not change between pages.

    The count, `after`, experiments and the view may change.
    """
    same = rpc.RecommendRequest(
        surface=request.surface, domain=request.domain, filter_text=request.filter_text
    )
    same.excluded_item_ids.extend(sorted(request.excluded_item_ids))
    if request.HasField("filter"):
        same.filter.CopyFrom(request.filter)
    if request.HasField("rules"):
        same.rules.CopyFrom(request.rules)
    return hash8(same.SerializeToString(deterministic=True))


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
        body = unseal(request.page_token)
        if len(body) < _HEAD.size or (len(body) - _HEAD.size) % 8:
            raise refused("is of another call: start again without it")
        version, expires, user, asked = _HEAD.unpack_from(body)
        if version != 1:
            raise refused("has a version that this server does not know: start again without it")
        if user != hash8(request.user_id.encode()):
            raise refused("belongs to another user")
        if asked != fingerprint(request):
            raise refused(
                "belongs to another request: surface, domain, filter, filter_text, rules and excluded_item_ids "
                "must stay the same"
            )
        if self.now() > expires:
            raise refused(
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
        body = _HEAD.pack(1, expires, hash8(request.user_id.encode()), fingerprint(request))
        body += struct.pack(f">{len(hashes)}Q", *hashes)
        return seal(body)
