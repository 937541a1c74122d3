"""What a client sees of a list."""

import numpy as np
import pytest

from catalog.items.items import Item
from ranking.slate.ranked import ModelOutputs, Ranked
from recstream.v1 import slate_pb2
from server.requests import view
from server.requests.view import View

CATALOGUE = [Item(f"i{n}", title=f"Title {n}", description="x" * 100) for n in range(4)]


def ranked() -> Ranked:
    slate = slate_pb2.Slate(slate_id="s", profile_revision=7, model_version=3, tier=slate_pb2.TIER_RANKED)
    for item in CATALOGUE:
        slate.items.add(item_id=item.item_id, score=0.5, source="nearest").reason.text = "New"
    probabilities, ratings = np.full((4, 1), 0.25, np.float32), np.full(4, 4, np.float32)
    probabilities[3] = ratings[3] = np.nan  # The model could not score the last item.
    return Ranked(slate, np.arange(4), 0, outputs=ModelOutputs(("like",), probabilities, ratings))


def shown(of: Ranked, **wanted) -> slate_pb2.Slate:
    return View.of(slate_pb2.ListView(**wanted)).shown(of, CATALOGUE.__getitem__)


def test_a_view_changes_no_other_field_and_not_the_list_itself() -> None:
    of = ranked()
    plain = shown(of)
    assert all(
        item == slate_pb2.RankedItem(item_id=item.item_id, score=0.5, reason={"text": "New"})
        for item in plain.items
    )
    assert of.slate == ranked().slate
    whole = shown(of, model_outputs=True)
    assert [dict(item.probabilities) for item in whole.items] == [{"like": 0.25}] * 3 + [{}]
    assert [item.HasField("predicted_rating") for item in whole.items] == [True, True, True, False]
    assert {item.source for item in whole.items} == {"nearest"}
    titles = shown(of, item_fields=["title"])
    assert [item.item.title for item in titles.items] == [item.title for item in CATALOGUE]
    for item in titles.items:
        item.ClearField("item")
    assert titles == plain


def test_the_fields_of_a_list_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "ANSWER_BYTES", 250)
    slate = shown(ranked(), item_fields=["description"])
    assert [item.HasField("item") for item in slate.items] == [True, True, False, False]
