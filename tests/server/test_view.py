"""What a client sees of a list."""

import numpy as np
import pytest

from catalog.items.items import Item
from ranking.slate.ranked import Ranked
from recstream.v1 import slate_pb2
from server.requests import view
from server.requests.view import View

CATALOGUE = [Item(f"i{n}", title=f"Title {n}", description="x" * 100) for n in range(4)]


def ranked() -> Ranked:
    slate = slate_pb2.Slate(slate_id="s", profile_revision=7, model_version=3, tier=slate_pb2.TIER_RANKED)
    for item in CATALOGUE:
        one = slate.items.add(item_id=item.item_id, score=0.5, source="nearest", predicted_rating=4)
        one.probabilities["like"] = 0.25
        one.reason.text = "New"
    return Ranked(slate, np.arange(len(CATALOGUE)), 0)


def shown(of: Ranked, **wanted) -> slate_pb2.Slate:
    return View.of(slate_pb2.ListView(**wanted)).shown(of, CATALOGUE.__getitem__)


def test_a_view_changes_no_other_field_and_not_the_list_itself() -> None:
    of = ranked()
    plain = shown(of)
    assert all(
        item == slate_pb2.RankedItem(item_id=item.item_id, score=0.5, reason={"text": "New"})
        for item in plain.items
    )
    assert shown(of, model_outputs=True) == of.slate == ranked().slate
    titles = shown(of, item_fields=["title"])
    assert [item.item.title for item in titles.items] == [item.title for item in CATALOGUE]
    for item in titles.items:
        item.ClearField("item")
    assert titles == plain


def test_the_fields_of_a_list_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "ANSWER_BYTES", 250)
    slate = shown(ranked(), item_fields=["description"])
    assert [item.HasField("item") for item in slate.items] == [True, True, False, False]
