"""The page tokens of ListItems: the hash of the last item, and the request that the token belongs to."""

import struct
from typing import Final

from recstream.v1 import catalog_service_pb2 as rpc
from server.requests.page_tokens import hash8, refused, seal, unseal

_BODY: Final = struct.Struct(">BQ8s")  # version, hash, request
_VERSION: Final = 1


def fingerprint(request: rpc.ListItemsRequest) -> bytes:
    """Return 8 bytes that identify the fields that must not change between pages. Size and shown fields may change."""
    same = rpc.ListItemsRequest()
    same.CopyFrom(request)
    for name in ("page_size", "page_token", "item_fields"):
        same.ClearField(name)
    return hash8(same.SerializeToString(deterministic=True))


def encode(request: rpc.ListItemsRequest, last: int) -> str:
    """Return the token of the page after an item.

    Args:
        request: The request of this page.
        last: The hash of the page's last item.
    """
    return seal(_BODY.pack(_VERSION, last, fingerprint(request)))


def decode(request: rpc.ListItemsRequest) -> int | None:
    """Return the hash of the last item before the page. None: it is the first page.

    Raises:
        InvalidRequest: The token is damaged, or belongs to another request.
    """
    if not request.page_token:
        return None
    body = unseal(request.page_token)
    if len(body) != _BODY.size or body[0] != _VERSION:
        raise refused("is of another call or version: start again without it")
    last: int
    _, last, asked = _BODY.unpack(body)
    if asked != fingerprint(request):
        raise refused(
            "belongs to another request: domain, filter, filter_text and include_withdrawn must stay the same"
        )
    return last
