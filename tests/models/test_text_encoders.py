"""Any encoder or decoder at a path computes text vectors, which do not depend on the batch."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from models.encoders.load import Encoders
from models.encoders.packaged import image_weights, text_source
from models.encoders.text import TextEncoder
from models.errors import EncoderNotFound
from tests.models.tiny_bundle import text_model

WIDTH = 32


def decoder_model(folder: Path) -> Path:
    """A random two-layer Llama with grouped heads. Its tokenizer over letters adds no special tokens."""
    from transformers import LlamaConfig, LlamaModel

    text_model(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = None
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    LlamaModel(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    return text_model(place, WIDTH) if request.param == "encoder" else decoder_model(place)


def encoders(model: TextEncoder, tokens: int = 64) -> Encoders:
    return Encoders(model, model.tokenizer(tokens), tokens)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_a_text_has_the_same_vector_alone_and_in_a_batch(folder: Path, pooling: str) -> None:
    model = encoders(TextEncoder(folder, pooling))  # type: ignore[arg-type]
    texts = [
        "red shoe", "ends in nul\0", "inner\0nul", "", "\0", "a film 🎈👩‍👩‍👧", "x" * 102_400, "a song of the game",
    ]  # fmt: skip
    together = model.encode(texts)
    assert together.shape == (len(texts), WIDTH) and np.isfinite(together).all()
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(model.encode([text])[0], vector, atol=1e-5)
    lengths = np.linalg.norm(together, axis=1)
    assert (np.isclose(lengths, 1, atol=1e-5) | np.isclose(lengths, 0)).all(), (
        "a text without tokens has the zero vector"
    )


def test_a_decoder_is_detected_by_its_outputs(folder: Path) -> None:
    assert TextEncoder(folder).causal == ("decoder" in folder.name)


def test_padding_on_either_side_changes_nothing(tmp_path: Path) -> None:
    for pooling in ("mean", "cls", "last"):
        model = TextEncoder(decoder_model(tmp_path / pooling), pooling)  # type: ignore[arg-type]
        ids, ones = torch.tensor([[7, 9, 11]]), torch.ones(1, 3, dtype=torch.long)
        padding, zeros = torch.full((1, 4), 3), torch.zeros(1, 4, dtype=torch.long)
        alone = model(ids, ones)
        right = model(torch.cat([ids, padding], 1), torch.cat([ones, zeros], 1))
        left = model(torch.cat([padding, ids], 1), torch.cat([zeros, ones], 1))
        torch.testing.assert_close(right, alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(left, alone, atol=1e-5, rtol=0)


def test_poolings_do_what_their_names_say(folder: Path) -> None:
    ids, mask = torch.tensor([[7, 9, 11, 0], [8, 5, 0, 0]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    hidden = TextEncoder(folder)._hidden(ids, mask)
    for pooling, wanted in (
        ("mean", torch.stack([hidden[0, :3].mean(0), hidden[1, :2].mean(0)])),
        ("cls", hidden[:, 0]),
        ("last", torch.stack([hidden[0, 2], hidden[1, 1]])),
    ):
        model = TextEncoder(folder, pooling)  # type: ignore[arg-type]
        torch.testing.assert_close(
            model(ids, mask), wanted / wanted.norm(dim=1, keepdim=True), atol=1e-5, rtol=0
        )


def test_pooling_is_the_folders_own_unless_it_is_set(tmp_path: Path) -> None:
    folder = text_model(tmp_path)
    assert TextEncoder(folder).pooling == "mean"
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert TextEncoder(folder).pooling == "cls" and TextEncoder(folder, "last").pooling == "last"


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_exported_graph_takes_any_batch_and_length(folder: Path, pooling: str, tmp_path: Path) -> None:
    model = TextEncoder(folder, pooling).eval()  # type: ignore[arg-type]
    path = tmp_path / "text.onnx"
    example = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    free = {name: {0: "batch", 1: "t"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, example, str(path), input_names=["input_ids", "attention_mask"], output_names=["vector"],
            dynamic_axes={**free, "vector": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for batch in (1, 2, 7):
        for length in (1, 2, 31, 64):
            ids = rng.integers(0, model.vocabulary, (batch, length))
            mask = (np.arange(length) < rng.integers(0, length + 1, (batch, 1))).astype(np.int64)
            found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            with torch.no_grad():
                wanted = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
            np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_fingerprint_depends_on_weights_tokenizer_and_pooling(tmp_path: Path) -> None:
    first = TextEncoder(text_model(tmp_path / "a")).fingerprint()
    assert TextEncoder(text_model(tmp_path / "b")).fingerprint() == first
    assert TextEncoder(tmp_path / "b", "cls").fingerprint() != first
    tokenizer = tmp_path / "b" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert TextEncoder(tmp_path / "b").fingerprint() != first


def test_the_error_for_a_missing_encoder_names_the_packaged_ones(tmp_path: Path) -> None:
    with pytest.raises(EncoderNotFound, match="all-minilm-l6-v2, smollm2-135m"):
        text_source("no-such-model")
    with pytest.raises(EncoderNotFound, match="efficientnet-lite0"):
        image_weights("no-such-model")
    with pytest.raises(EncoderNotFound, match="not a Hugging Face model"):
        text_source(str(tmp_path))


def test_a_named_encoder_is_found_in_its_package() -> None:
    assert (text_source("all-MiniLM-L6-v2").folder / "tokenizer.json").is_file()
