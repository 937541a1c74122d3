"""The page tokens of ListItems: the hash of the last item, and the request that the token belongs to."""

from typing import Final

from recstream.storage.v1 import token_pb2 as storage
from recstream.v1 import catalog_service_pb2 as rpc
from server.errors import InvalidToken, Violation
from server.tokens.request_hash import request_hash
from server.tokens.sealing import BadToken, Kind, Sealer

FIELD: Final = "page_token"


def fingerprint(request: rpc.ListItemsRequest) -> bytes:
    """Return 8 bytes that identify the fields that must not change between pages. Size and shown fields may change."""
    same = rpc.ListItemsRequest()
    same.CopyFrom(request)
    for name in ("page_size", "page_token", "item_fields"):
        same.ClearField(name)
    return request_hash(same)


def encode(request: rpc.ListItemsRequest, last: int, sealer: Sealer) -> str:
    """Return the token of the page after an item.

    Args:
        request: The request of this page.
        last: The hash of the page's last item.
        sealer: Makes the token.
    """
    page = storage.CataloguePage(last=last, request=fingerprint(request))
    return sealer.seal(Kind.CATALOGUE_PAGE, page.SerializeToString())


def decode(request: rpc.ListItemsRequest, sealer: Sealer) -> int | None:
    """Return the hash of the last item before the page. None: it is the first page.

    Raises:
        InvalidToken: The token is damaged, or belongs to another request.
    """
    if not request.page_token:
        return None
    try:
        _, body = sealer.open(request.page_token, (Kind.CATALOGUE_PAGE,))
    except BadToken as error:
        raise InvalidToken([Violation(FIELD, str(error))]) from error
    page = storage.CataloguePage.FromString(body)
    if page.request != fingerprint(request):
        problem = (
            "belongs to another request: domain, filter, filter_text and include_withdrawn must stay the same"
        )
        raise InvalidToken([Violation(FIELD, problem)])
    return page.last
