"""The order in which items are listed, and its page tokens."""

import asyncio
import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from catalog.settings import CatalogSettings
from recstream.v1 import catalog_service_pb2 as rpc
from recstream.v1 import filter_pb2
from server.errors import InvalidRequest
from server.items import item_pages
from server.items.item_order import ItemOrder
from server.requests.validation import MAX_LIST_TOKEN_BYTES
from server.tokens.keys import TokenKey
from server.tokens.sealing import Sealer

SEALER = Sealer([TokenKey(1, b"secret" * 4)])
IDS = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=40)


def filled(item_ids: list[str]) -> InMemoryCatalog:
    catalog = InMemoryCatalog(CatalogSettings())
    for item_id in item_ids:
        catalog.put_item(Item(item_id))
    return catalog


async def listed(
    catalog: InMemoryCatalog, size: int, between: dict[int, list[str]] | None = None
) -> list[str]:
    """The ids of all pages. `between` are items that are put before a page."""
    order, found, last = ItemOrder(catalog), [], None
    for page in range(1_000):
        for item_id in (between or {}).get(page, []):
            catalog.put_item(Item(item_id))
        rows, hashes = order.following(last, catalog.known, size)
        found += [catalog.item_id(row) for row in rows.tolist()]
        if len(rows) < size:
            return found
        last = int(hashes[-1])
    raise AssertionError("the pages do not end")


@given(IDS, st.integers(1, 50), st.randoms())
def test_pages_have_each_item_once_in_an_order_that_arrival_does_not_matter_to(
    item_ids: list[str], size: int, random
) -> None:
    one = asyncio.run(listed(filled(item_ids), size))
    random.shuffle(item_ids)
    assert sorted(one) == sorted(item_ids)
    assert asyncio.run(listed(filled(item_ids), 7)) == one


@given(IDS, IDS, st.integers(1, 5), st.data())
def test_items_that_come_meanwhile_cost_no_other_its_place(
    there: list[str], coming: list[str], size: int, data: st.DataObject
) -> None:
    between = {data.draw(st.integers(0, 9)): [item_id] for item_id in coming}
    found = asyncio.run(listed(filled(there), size, between))
    assert len(found) == len(set(found)) and set(there) <= set(found) <= {*there, *coming}


@given(IDS, st.integers(1, 5))
def test_items_that_are_deleted_once_they_were_listed_cost_no_other_its_place(
    there: list[str], size: int
) -> None:
    catalog, found, last = filled(there), [], None
    order = ItemOrder(catalog)
    for _ in range(len(there) + 1):
        rows, hashes = order.following(last, catalog.known, size)
        page = [catalog.item_id(row) for row in rows.tolist()]
        found += page
        for item_id in page:
            catalog.remove_item(item_id)
        if page:
            last = int(hashes[-1])
    assert sorted(found) == sorted(there)


def test_a_mask_that_is_older_than_the_catalogue_is_listed() -> None:
    catalog = filled([f"item-{n}" for n in range(10)])
    mask = np.array([True, False, True])
    order = ItemOrder(catalog)
    assert sorted(order.following(None, mask, 5)[0].tolist()) == [0, 2]


@given(st.integers(0, 2**64 - 1), st.text(max_size=5), st.booleans())
def test_a_token_is_short_and_gives_its_hash(last: int, domain: str, withdrawn: bool) -> None:
    request = rpc.ListItemsRequest(domain=domain, include_withdrawn=withdrawn)
    request.page_token = item_pages.encode(request, last, SEALER)
    assert len(request.page_token) <= MAX_LIST_TOKEN_BYTES
    request.page_size, request.item_fields[:] = 7, ["title"]
    assert item_pages.decode(request, SEALER) == last


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (rpc.ListItemsRequest(domain="video"), "another request"),
        (rpc.ListItemsRequest(include_withdrawn=True), "another request"),
        (rpc.ListItemsRequest(filter=filter_pb2.Filter()), "another request"),
    ],
)
def test_a_token_of_another_request_is_refused(other: rpc.ListItemsRequest, why: str) -> None:
    other.page_token = item_pages.encode(rpc.ListItemsRequest(), 5, SEALER)
    with pytest.raises(InvalidRequest, match=why):
        item_pages.decode(other, SEALER)


@given(st.text(max_size=64) | st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_text_that_is_no_token_is_refused(token: str) -> None:
    if not token:
        assert item_pages.decode(rpc.ListItemsRequest(), SEALER) is None
        return
    with pytest.raises(InvalidRequest, match="page_token"):
        item_pages.decode(rpc.ListItemsRequest(page_token=token), SEALER)


@given(st.integers(0, 37), st.integers(1, 255))
def test_a_damaged_token_is_refused(at: int, flipped: int) -> None:
    request = rpc.ListItemsRequest()
    token = item_pages.encode(request, 12_345, SEALER)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[at] ^= flipped
    request.page_token = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    with pytest.raises(InvalidRequest, match="damaged"):
        item_pages.decode(request, SEALER)
