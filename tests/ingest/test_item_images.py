"""The catalogue worker embeds text alone if an item has no readable image, or else text and image."""

from pathlib import Path

import numpy as np
import pytest

from catalog.items.items import Item
from catalog.items.media import Media
from inference.bundle.bundle import Bundle, read
from inference.model import Floats, ModelUnavailable, NotFinite
from ingest.embeddings.embedding import Embedding
from tests.models.model_in_process import InProcess
from tests.models.tiny_bundle import build, image_file


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read(build(tmp_path_factory.mktemp("seeing") / "tiny", images=True))


def item(item_id: str, *contents: bytes, modality: str = "image") -> Item:
    media = tuple(Media(modality, bytes([n]) * 16, content) for n, content in enumerate(contents))
    return Item(item_id, "red shoe", media=media)


RED, BLUE = image_file("red"), image_file("blue")
ITEMS = [
    item("bare"),
    item("red", RED),
    item("both", RED, BLUE),
    item("broken", b"no image"),
    item("half", b"no image", BLUE),
    item("let-go", b""),
    item("sound", RED, modality="sound"),
    *(item(f"more-{n}", RED, BLUE) for n in range(20)),
]


async def test_each_item_is_embedded_from_what_it_has(seeing: Bundle) -> None:
    found = (await Embedding(InProcess(seeing), seeing, 10.0)(ITEMS)).vectors
    assert list(found) == [one.item_id for one in ITEMS]
    for absent in ("broken", "let-go", "sound"):
        np.testing.assert_allclose(found[absent], found["bare"], atol=1e-6)
    image = seeing.manifest.modality("image")
    base = found["bare"][None]
    for item_id, contents in (
        ("red", [RED]),
        ("both", [RED, BLUE]),
        ("half", [BLUE]),
        ("more-19", [RED, BLUE]),
    ):
        prepared = np.stack([image.prepare(content) for content in contents])[None]
        wanted = await InProcess(seeing).add_modality(1, "image", base, prepared, timeout=0)
        np.testing.assert_allclose(found[item_id], wanted[0], atol=1e-5)
        assert np.abs(found[item_id] - found["bare"]).max() > 1e-3


async def test_a_text_only_bundle_ignores_images(bundle: Path) -> None:
    class Blind(InProcess):
        async def add_modality(self, *args: object, **kwargs: object) -> Floats:
            raise AssertionError("asked")

    plain = read(bundle)
    found = (await Embedding(Blind(plain), plain, 10.0)(ITEMS)).vectors
    np.testing.assert_allclose(found["red"], found["bare"], atol=1e-6)


async def test_an_image_whose_vector_is_not_finite_fails_alone(seeing: Bundle) -> None:
    class Faulty(InProcess):
        async def add_modality(self, version, name, vectors, contents, *, timeout):  # type: ignore[no-untyped-def]
            blue = contents[:, 0, ..., 2].reshape(len(contents), -1).mean(1) > 200
            if blue.any():
                raise NotFinite("not finite", tuple(np.flatnonzero(blue).tolist()))
            return await super().add_modality(version, name, vectors, contents, timeout=timeout)

    items = [item("bare"), item("red", RED), item("blue", BLUE), item("red-too", RED)]
    found = await Embedding(Faulty(seeing), seeing, 10.0)(items)
    assert set(found.failures) == {"blue"} and set(found.vectors) == {"bare", "red", "red-too"}


async def test_without_an_image_encoding_there_are_no_vectors(seeing: Bundle) -> None:
    class Away(InProcess):
        async def add_modality(self, *args: object, **kwargs: object) -> Floats:
            raise ModelUnavailable("away")

    with pytest.raises(ModelUnavailable):
        await Embedding(Away(seeing), seeing, 10.0)([item("bare"), item("red", RED)])
