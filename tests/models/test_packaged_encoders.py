"""Encoders from packages become bundles, and the real Triton computes what torch computes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inference.bundle.bundle import read
from inference.repository.repository import install
from inference.settings import TritonSettings
from inference.triton import TritonModel
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from models.encoders.load import Encoders, load_encoders
from models.encoders.media import ImageEncoder, mean_direction
from models.encoders.packaged import image_weights, text_source
from models.encoders.settings import EncoderSettings
from models.errors import EncoderNotFound
from models.export.bundle_writer import write_bundle
from models.network.recommender import Recommender, Shape
from models.training.bundle_metadata import bundle_metadata
from models.training.settings import TrainSettings

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]

TEXTS = ["Toy Story (1995). Animation, Comedy", "", "ends in nul\0", "a film 🎈", "red shoe " * 400]


def needed(*named: str) -> None:
    for name in named:
        try:
            (image_weights if name.startswith("efficient") else text_source)(name)
        except EncoderNotFound as error:
            pytest.skip(str(error))


def bundle_of(encoders: Encoders, folder: Path) -> Recommender:
    """Writes a bundle of an untrained model on these encoders."""
    settings = TrainSettings(version=1, width=16, channels=32, hidden=16)
    actions, popularities = len(settings.actions), len(settings.popularity_half_lives_days)
    torch.manual_seed(0)
    shape = Shape(
        text_width=encoders.text.width,
        width=16,
        channels=32,
        hidden=16,
        items=3,
        actions=actions,
        value_mean=(3.0,) * actions,
        value_scale=(1.0,) * actions,
        value_range=(0.5, 5.0),
        popularities=popularities,
        media=tuple(encoders.media_widths.items()),
    )
    model = Recommender(shape, 0.0, 0.0)
    metadata = bundle_metadata(settings, version=1, metrics={}, data_fingerprint="")
    write_bundle(folder, model, encoders, ["a", "b", "c"], metadata)
    return model.eval()


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "SmolLM2-135M"])
async def test_a_packaged_text_encoder_is_served_as_torch_computes_it(name: str, tmp_path: Path) -> None:
    needed(name)
    encoders = load_encoders(EncoderSettings(text_model=name))
    assert encoders.text.causal == (name == "SmolLM2-135M")
    model = bundle_of(encoders, tmp_path / "bundle")
    with torch.no_grad():
        wanted = model.item(torch.from_numpy(encoders.encode(TEXTS)), torch.tensor([0, 1, 0, 3, 0])).numpy()
    bundle = read(tmp_path / "bundle")
    install(bundle, tmp_path / "repository")
    server = EmbeddedTriton(tmp_path / "repository", tmp_path, free_port())
    await server.start(300)
    try:
        served = TritonModel(TritonSettings(address=server.address), [bundle.manifest])
        tokens = bundle.tokens(["?", "a", "?", "c", "?"], TEXTS)
        found = await served.encode_items(1, tokens, timeout=60)
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)
        await served.close()
    finally:
        await server.stop()


async def test_the_packaged_image_encoder_is_served_as_torch_computes_it(tmp_path: Path) -> None:
    needed("efficientnet-lite0")
    encoders = load_encoders(EncoderSettings(image_model="efficientnet-lite0"))
    model = bundle_of(encoders, tmp_path / "bundle")
    bundle = read(tmp_path / "bundle")
    rng = np.random.default_rng(0)
    files = []
    for size in ((480, 640, 3), (100, 30, 3), (224, 224, 3), (900, 20, 3)):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).resize((size[1], size[0])).save(out, "JPEG")
        files.append(out.getvalue())
    image = bundle.manifest.modality("image")
    prepared = np.stack([image.prepare(file) for file in files]).reshape(2, 2, 224, 224, 3)
    vectors = rng.standard_normal((2, 16)).astype(np.float32)
    with torch.no_grad():
        of_each = encoders.media[0].module(torch.from_numpy(prepared).flatten(0, 1)).unflatten(0, (2, 2))
        wanted = model.item.with_media("image", torch.from_numpy(vectors), mean_direction(of_each)).numpy()
    install(bundle, tmp_path / "repository")
    server = EmbeddedTriton(tmp_path / "repository", tmp_path, free_port())
    await server.start(300)
    try:
        served = TritonModel(TritonSettings(address=server.address), [bundle.manifest])
        assert await served.ready(1)
        found = await served.add_modality(1, "image", vectors, prepared, timeout=60)
        np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-4)
        await served.close()
    finally:
        await server.stop()


def test_similar_images_have_similar_vectors() -> None:
    """The weights are not noise: two images of stripes are nearer to each other than to a ramp."""
    needed("efficientnet-lite0")
    encoder = ImageEncoder("efficientnet-lite0")
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pictures = {
        "stripes": np.repeat(np.where(np.arange(64) % 8 < 4, 255, 0).astype(np.uint8)[None], 64, 0),
        "moved": np.repeat(np.where(np.arange(64) % 8 < 4, 0, 255).astype(np.uint8)[None], 64, 0),
        "ramp": np.add.outer(ramp // 2, ramp // 2),
    }
    vectors = {}
    for name, gray in pictures.items():
        out = io.BytesIO()
        Image.fromarray(gray).convert("RGB").resize((224, 224)).save(out, "PNG")
        with torch.no_grad():
            vectors[name] = mean_direction(
                encoder.module(torch.from_numpy(encoder.prepare(out.getvalue()).copy())[None])
            )
    assert float(vectors["stripes"] @ vectors["moved"]) > float(vectors["stripes"] @ vectors["ramp"]) + 0.2
