"""Vectors are computed once for each encoder, even if a run is interrupted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress

import models.encoders.load as loading
from models.data.events import ItemText, Media
from models.encoders.load import Encoders
from models.encoders.media import mean_direction
from models.encoders.text import TextEncoder
from models.encoders.vector_cache import VectorCache, content_key
from tests.models.tiny_bundle import TinyImages, image_file, text_model


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return TextEncoder(text_model(tmp_path_factory.mktemp("text")))


_ENCODE = Encoders.encode


class Counting:
    """Encoders that count the texts that they encode, and stop after some."""

    def __init__(self, text: TextEncoder, monkeypatch: pytest.MonkeyPatch, stop_after: int = 10**9) -> None:
        self.encoders = Encoders(text, text.tokenizer(16), 16, (TinyImages(),))
        self.seen: list[str] = []

        def encode(encoders: Encoders, texts: Sequence[str]):  # type: ignore[no-untyped-def]
            if len(self.seen) >= stop_after:
                raise KeyboardInterrupt
            self.seen += texts
            return _ENCODE(encoders, texts)

        monkeypatch.setattr(Encoders, "encode", encode)

    def vectors(self, items: Sequence[ItemText], cache: Path | None):  # type: ignore[no-untyped-def]
        return self.encoders.vectors([item.item_id for item in items], items, cache, Progress(disable=True))


def items(count: int) -> list[ItemText]:
    return [ItemText(f"i{n}", f"film {n}") for n in range(count)]


def test_each_text_is_encoded_once(
    text: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(text, monkeypatch)
    first = counting.vectors([*items(5), ItemText("twin", "film 0"), ItemText("bare", "")], tmp_path)
    assert len(counting.seen) == 6
    torch.testing.assert_close(first.text[0], first.text[5])
    again = counting.vectors([*items(7)], tmp_path)
    assert len(counting.seen) == 8
    assert torch.equal(again.text[:5], first.text[:5])
    assert torch.equal(counting.vectors(items(7), None).text, again.text), "the cache changes no number"


def test_an_interruption_loses_no_finished_batch(
    text: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_TEXT_BATCH", 4)
    counting = Counting(text, monkeypatch, stop_after=8)
    with pytest.raises(KeyboardInterrupt):
        counting.vectors(items(20), tmp_path)
    counting = Counting(text, monkeypatch)
    counting.vectors(items(20), tmp_path)
    assert len(counting.seen) == 12


def test_another_encoder_has_another_file(text: TextEncoder, tmp_path: Path) -> None:
    for tokens in (16, 32):
        Encoders(text, text.tokenizer(tokens), tokens).vectors(["a"], [], tmp_path, Progress(disable=True))
    assert len(list(tmp_path.glob("text-*.vectors"))) == 2


def test_truncated_and_damaged_vectors_are_recomputed_and_others_kept(tmp_path: Path) -> None:
    def cache() -> VectorCache:
        return VectorCache(tmp_path, "text", "one", 3)

    keys = [content_key(bytes([n])) for n in range(4)]
    cache().add(keys[:3], np.arange(9, dtype=np.float32).reshape(3, 3))
    path = cache().path
    assert path is not None
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert [key in cache() for key in keys] == [True, True, False, False]
    cache().add(keys[3:], np.ones((1, 3), np.float32))
    assert [key in cache() for key in keys] == [True, True, False, True]
    path.write_bytes(whole[:25] + bytes([whole[25] ^ 1]) + whole[26:])
    assert [key in cache() for key in keys] == [False, True, True, False]
    np.testing.assert_array_equal(cache()[keys[2]], [6, 7, 8])


def test_concurrent_caches_share_a_file(tmp_path: Path) -> None:
    one, other = (VectorCache(tmp_path, "text", "one", 2) for _ in range(2))
    one.add([content_key(b"a")], np.ones((1, 2), np.float32))
    other.add([content_key(b"b")], np.ones((1, 2), np.float32))
    assert len(VectorCache(tmp_path, "text", "one", 2)) == 2


def test_images_are_averaged_and_unreadable_ones_are_skipped(
    text: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, blue, broken = image_file("red"), image_file("blue"), b"no image"
    (tmp_path / "red.png").write_bytes(red)
    catalogue = [
        ItemText("none", "a"),
        ItemText("one", "a", media=(Media("image", tmp_path / "red.png"),)),
        ItemText("two", "a", media=(Media("image", red), Media("image", blue))),
        ItemText("broken", "a", media=(Media("image", broken), Media("sound", red))),
        ItemText("half", "a", media=(Media("image", broken), Media("image", blue))),
    ]
    found = Counting(text, monkeypatch).vectors(catalogue, tmp_path / "cache")
    images, encoder = found.media["image"], TinyImages()
    of_each = encoder.module(torch.from_numpy(np.stack([encoder.prepare(red), encoder.prepare(blue)])))
    assert found.unreadable == 2
    assert not images[0].any() and not images[3].any()
    torch.testing.assert_close(images[1], mean_direction(of_each[:1]))
    torch.testing.assert_close(images[2], mean_direction(of_each))
    torch.testing.assert_close(images[4], mean_direction(of_each[1:]))
    assert len(VectorCache(tmp_path / "cache", "image", encoder.fingerprint, encoder.width)) == 2
