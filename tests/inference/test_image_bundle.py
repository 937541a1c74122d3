"""A bundle with images and one without are served by one real Triton. A missing modality changes nothing."""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.bundle.bundle import Bundle, Manifest, checksum, read
from inference.bundle.graphs import GRAPHS
from inference.errors import BundleRefused
from inference.model import ModelUnavailable
from inference.repository.repository import install, versions
from inference.settings import TritonSettings
from inference.triton import TritonModel
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from tests.models.model_in_process import InProcess
from tests.models.tiny_bundle import build, image_file

TIMEOUT = 20.0
MODEL = "triton/image_encoder/2/model.onnx"


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read(build(tmp_path_factory.mktemp("seeing") / "tiny", version=2, images=True))


@pytest.fixture(scope="module")
def both(bundle: Path, seeing: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTriton]:
    """A Triton with a version without images and a newer one with them."""
    import asyncio

    folder = tmp_path_factory.mktemp("triton")
    install(read(bundle), folder / "repository")
    install(seeing, folder / "repository")
    server = EmbeddedTriton(folder / "repository", folder, free_port())
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture
async def model(both: EmbeddedTriton, bundle: Path, seeing: Bundle) -> AsyncIterator[TritonModel]:
    found = TritonModel(TritonSettings(address=both.address), [read(bundle).manifest, seeing.manifest])
    yield found
    await found.close()


@pytest.fixture
def copy(seeing: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(seeing.folder, tmp_path / "copy"))


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


async def test_both_versions_are_ready_and_agree_on_text(model: TritonModel, seeing: Bundle) -> None:
    assert await model.ready(1) and await model.ready(2)
    tokens = seeing.tokens(["item-0", "new"], ["red shoe", ""])
    of_text = await model.encode_items(1, tokens, timeout=TIMEOUT)
    np.testing.assert_allclose(await model.encode_items(2, tokens, timeout=TIMEOUT), of_text, atol=1e-5)


@pytest.mark.parametrize("contents", [1, 3])
async def test_images_change_vectors_as_they_do_in_process(
    model: TritonModel, seeing: Bundle, contents: int
) -> None:
    image = seeing.manifest.modality("image")
    files = [image_file(color) for color in ("red", "blue", "green", "white", "black")]
    prepared = np.stack(
        [np.stack([image.prepare(files[(i + n) % 5]) for n in range(contents)]) for i in range(9)]
    )
    vectors = np.random.default_rng(0).standard_normal((9, 16)).astype(np.float32)
    here = await InProcess(seeing).add_modality(2, "image", vectors, prepared, timeout=0)
    found = await model.add_modality(2, "image", vectors, prepared, timeout=TIMEOUT)
    np.testing.assert_allclose(found, here, atol=1e-4, rtol=1e-4)
    assert (np.abs(found - vectors).max(axis=1) > 1e-3).all()
    alone = await model.add_modality(2, "image", vectors[4:5], prepared[4:5], timeout=TIMEOUT)
    np.testing.assert_allclose(alone[0], found[4], atol=1e-5, rtol=1e-5)


async def test_a_version_without_the_modality_refuses_it(model: TritonModel) -> None:
    nothing = np.zeros((1, 1, 8, 8, 3), np.uint8)
    with pytest.raises(ModelUnavailable, match="no modality image"):
        await model.add_modality(1, "image", np.zeros((1, 16), np.float32), nothing, timeout=TIMEOUT)


def test_a_version_is_complete_when_its_four_graphs_are_there(
    seeing: Bundle, bundle: Path, tmp_path: Path
) -> None:
    install(seeing, tmp_path)
    assert versions(tmp_path) == [2]
    assert next(iter(seeing.manifest.graphs())) == "image_encoder", (
        "it is installed before the four that make a version complete"
    )
    assert set(read(bundle).manifest.graphs()) == set(GRAPHS)
    assert not (bundle / "triton" / "image_encoder").exists()


def test_a_listed_modality_without_its_graph_is_refused_by_name(copy: Path) -> None:
    manifest = Manifest.model_validate_json((copy / "manifest.json").read_bytes())
    change_manifest(copy, files={name: value for name, value in manifest.files.items() if name != MODEL})
    with pytest.raises(BundleRefused) as refused:
        read(copy)
    assert refused.value.name == MODEL
    change_manifest(copy, files=dict(manifest.files))
    (copy / MODEL).unlink()
    with pytest.raises(BundleRefused, match="missing") as refused:
        read(copy)
    assert refused.value.name == MODEL


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": [9, 8, 3]}, "has shape"),
        ({"kind": "FP32"}, "is UINT8"),
        ({"preparation": "smell"}, "unknown preparation"),
        ({"name": "vector"}, "reserved"),
        ({"name": "item"}, "reserved"),
        ({"name": "sound"}, "does not list"),
        ({"name": "../x"}, "modalities"),
    ],
)
def test_a_modality_that_does_not_fit_is_refused(copy: Path, changes: dict[str, object], reason: str) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    change_manifest(copy, modalities=[manifest["modalities"][0] | changes])
    with pytest.raises(BundleRefused, match=reason):
        read(copy)


def test_a_file_of_another_graph_is_refused(copy: Path) -> None:
    shutil.copyfile(copy / "triton/ranker/2/model.onnx", copy / MODEL)
    manifest = Manifest.model_validate_json((copy / "manifest.json").read_bytes())
    change_manifest(copy, files={**manifest.files, MODEL: checksum(copy / MODEL)})
    with pytest.raises(BundleRefused, match="differ from those of image_encoder"):
        read(copy)
