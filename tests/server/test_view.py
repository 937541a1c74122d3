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


def test_a_list_is_bounded_with_what_it_has_besides_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    of = ranked()
    bare = shown(of).ByteSize()
    monkeypatch.setattr(view, "_SLATE_BYTES", bare + 250)
    slate = shown(of, item_fields=["description"])
    assert [item.HasField("item") for item in slate.items] == [True, True, False, False]
    assert slate.ByteSize() <= bare + 250
    monkeypatch.setattr(view, "_SLATE_BYTES", bare - 1)
    assert not any(item.HasField("item") for item in shown(of, item_fields=["description"]).items)


def test_the_longest_list_of_the_largest_items_fits_into_an_answer() -> None:
    largest = "\N{CLAPPER BOARD}" * 64  # 256 bytes
    slate = slate_pb2.Slate()
    for _ in range(1_000):
        reason = slate_pb2.Reason(item_id=largest, text="\N{CLAPPER BOARD}" * 220, rule="r" * 128)
        slate.items.add(item_id=largest, score=0.5, source="given", reason=reason)
    outputs = ModelOutputs(
        tuple(f"action-{n}" for n in range(12)), np.ones((1_000, 12), np.float32), np.ones(1_000, np.float32)
    )
    item = Item(largest, title="t" * 4096, description="d" * 32_768)
    wanted = slate_pb2.ListView(item_fields=["title", "description"], model_outputs=True)
    whole = View.of(wanted).shown(Ranked(slate, np.arange(1_000), 0, outputs=outputs), lambda row: item)
    assert 3 << 20 < whole.ByteSize() < 4_000_000 and whole.items[0].HasField("item")
