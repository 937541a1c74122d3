"""Page tokens: the state of a paging session, which only the client keeps.

A token has the 64-bit hashes of the items on earlier pages, so that no page repeats an item even if the ranking
changes. It is valid for one user, one request and a limited time.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from profiles.folding.tail import hash64
from recstream.storage.v1 import token_pb2 as storage
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import InvalidToken, Violation
from server.settings import ServerSettings
from server.tokens.request_hash import request_hash
from server.tokens.sealing import BadToken, Kind, Sealer

FIELD: Final = "page_token"


def fingerprint(request: rpc.RecommendRequest) -> bytes:
    """Return 8 bytes that identify the fields that must not change between pages.

    The count, `after`, `after_event_ids`, experiments and the view may change.
    """
    same = rpc.RecommendRequest(
        surface=request.surface, domain=request.domain, filter_text=request.filter_text
    )
    same.excluded_item_ids.extend(sorted(request.excluded_item_ids))
    if request.HasField("filter"):
        same.filter.CopyFrom(request.filter)
    if request.HasField("rules"):
        same.rules.CopyFrom(request.rules)
    return request_hash(same)


@dataclass(frozen=True, slots=True)
class Pages:
    """Reads and writes page tokens.

    Attributes:
        sealer: Makes and opens tokens.
        settings: How long tokens are valid, and how many items they may have.
        now: The wall clock, Unix seconds.
    """

    sealer: Sealer
    settings: ServerSettings
    now: Callable[[], float] = time.time

    def earlier_items(self, request: rpc.RecommendRequest) -> frozenset[int]:
        """Return the hashes of the items on earlier pages.

        Raises:
            InvalidToken: The token is damaged, has expired, or belongs to another user or request.
        """
        if not request.page_token:
            return frozenset()
        try:
            _, body = self.sealer.open(request.page_token, (Kind.LIST_PAGE,), request.user_id)
        except BadToken as error:
            raise InvalidToken([Violation(FIELD, str(error))]) from error
        page = storage.ListPage.FromString(body)
        if page.request != fingerprint(request):
            raise _refused(
                "belongs to another request: surface, domain, filter, filter_text, rules and excluded_item_ids "
                "must stay the same"
            )
        if self.now() > page.expires_at:
            raise _refused(
                f"has expired; tokens are valid for {self.settings.page_seconds:g} s: start again without it"
            )
        return frozenset(page.served)

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
        page = storage.ListPage(
            expires_at=int(self.now() + self.settings.page_seconds),
            request=fingerprint(request),
            served=hashes,
        )
        return self.sealer.seal(Kind.LIST_PAGE, page.SerializeToString(), request.user_id)


def _refused(problem: str) -> InvalidToken:
    return InvalidToken([Violation(FIELD, problem)])
