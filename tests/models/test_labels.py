"""Items that are described by labels: each label has its own meaning, in training and in serving."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from inference.bundle.graphs import ITEM_ENCODER
from models.data.events import ItemText
from models.encoders.labels import LabelEncoder, label_vocabulary
from models.encoders.load import Encoders
from models.errors import EncoderNotFound
from models.export.graphs import Sizes, export, graphs
from models.network.item_tower import ItemTower
from models.network.recommender import Recommender, Shape

ITEMS = [
    ItemText("a", "1, 2, 30"),
    ItemText("b", "2, 30, 9"),
    ItemText("c", ""),
    ItemText("d", "7"),
    ItemText("e", "1, 1"),
]
IDS = [item.item_id for item in ITEMS]


def tokens(encoder: LabelEncoder, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, as a bundle makes them."""
    rows = [encoding.ids for encoding in encoder.tokenizer(8).encode_batch(texts)]
    ids = torch.zeros(len(rows), max(1, *map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[place, : len(row)] = 1
    return ids, mask


def test_a_vector_says_which_labels_an_item_shares_with_others() -> None:
    encoder = LabelEncoder(ITEMS)
    assert encoder.words == ["1", "2", "30"]  # only one item has 7, and only one has 9
    half = 0.5**0.5
    expected = torch.tensor([[3**-0.5] * 3, [0, half, half], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    torch.testing.assert_close(encoder.vectors(IDS).to_dense(), expected)
    torch.testing.assert_close(encoder(*tokens(encoder, [item.text for item in ITEMS])), expected)
    assert not encoder.vectors(["never heard of"]).to_dense().any()


def test_the_vocabulary_is_in_the_tokenizer_and_in_the_fingerprint() -> None:
    encoder = LabelEncoder(ITEMS)
    assert label_vocabulary(encoder.tokenizer(8)) == encoder.words
    assert LabelEncoder(ITEMS[:2]).fingerprint() != encoder.fingerprint()
    assert LabelEncoder(ITEMS[:2], encoder.words).fingerprint() == encoder.fingerprint()


def test_items_without_a_common_label_are_refused() -> None:
    with pytest.raises(EncoderNotFound, match="no two items have a label in common"):
        LabelEncoder([ItemText("a", "1, 2"), ItemText("b", "3")])


def test_the_head_reads_a_sparse_table_like_a_dense_one() -> None:
    torch.manual_seed(0)
    labels, index = LabelEncoder(ITEMS).vectors(IDS), torch.arange(5)
    for unit in (False, True):
        head = ItemTower(3, 8, 5, 0.5, 0.0, unit_norm=unit)
        found = head.eval()(labels, index)
        torch.testing.assert_close(found, head(labels.to_dense(), index))
        assert not torch.equal(head.train()(labels, index), found)  # labels are dropped
        found.square().sum().backward() if not unit else found[:, 0].sum().backward()
        assert head.head[1].weight.grad.abs().sum(0).min() > 0


def test_an_item_that_comes_without_labels_keeps_those_of_its_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = LabelEncoder(ITEMS)
    shape = Shape(
        text_width=3,
        width=8,
        channels=16,
        hidden=8,
        items=5,
        actions=1,
        value_mean=(0.0,),
        value_scale=(1.0,),
        value_range=(0.0, 1.0),
        popularities=1,
        temperature=0.1,
        item_skip_connection=True,
    )
    model = Recommender(shape, 0.0, 0.0).eval()
    encoders = Encoders(encoder, encoder.tokenizer(8), 8)
    module = {graph.name: module for graph, module in graphs(encoders, model, IDS)}["item_encoder"]
    export(
        ITEM_ENCODER,
        module,
        Sizes(
            width=8, channels=16, actions=1, items=5, vocabulary=encoder.vocabulary, tokens=8, popularities=1
        ),
        tmp_path / "item.onnx",
    )
    session = onnxruntime.InferenceSession(tmp_path / "item.onnx", providers=["CPUExecutionProvider"])

    def vectors(texts: list[str], index: list[int]) -> torch.Tensor:
        ids, mask = tokens(encoder, texts)
        given = {
            "input_ids": ids.numpy(),
            "attention_mask": mask.numpy(),
            "item_index": np.array(index)[:, None],
        }
        return torch.from_numpy(session.run(None, given)[0])

    trained = vectors([item.text for item in ITEMS], [1, 2, 3, 4, 5])
    torch.testing.assert_close(
        trained, model.item(encoder.vectors(IDS), torch.arange(1, 6)), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(vectors([""] * 5, [1, 2, 3, 4, 5]), trained)
    # Labels decide the vector of a new item. Other labels change the vector of a known one.
    torch.testing.assert_close(vectors(["30, 2"], [0]), vectors(["2, 30"], [0]))
    assert (vectors(["30, 2"], [0]) - vectors([""], [0])).abs().max() > 1e-2
    assert (vectors(["1"], [2]) - trained[1]).abs().max() > 1e-2
