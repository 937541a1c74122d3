"""An int8 bundle is served by the real Triton like any other version, beside the one it was made from."""

from pathlib import Path

import numpy as np
import pytest

from inference.bundle.bundle import read
from inference.repository.repository import install, load, restrict, sweep
from inference.settings import TritonSettings
from inference.smoke_test import smoke_test
from inference.triton import TritonModel
from local.servers.triton import EmbeddedTriton
from models.export.compression.int8_bundle import write_int8
from tests.models.model_in_process import InProcess, random_histories

VERSION = 808


@pytest.mark.drill
async def test_triton_serves_it_beside_the_float32_version(
    triton: EmbeddedTriton, bundle: Path, tmp_path: Path
) -> None:
    float32 = read(bundle)
    write_int8(float32, tmp_path / "int8", version=VERSION, min_numbers=2)
    int8, settings = read(tmp_path / "int8"), TritonSettings(address=triton.address)
    install(int8, triton.repository)
    model = TritonModel(settings, [float32.manifest, int8.manifest])
    try:
        await load(settings)
        await smoke_test(model, int8, timeout=20)
        tokens = int8.tokens(
            [f"item-{i}" for i in range(20)], ["red shoe", "", "a song of the game", "film"] * 5
        )
        vectors = {version: await model.encode_items(version, tokens, timeout=20) for version in (1, VERSION)}
        here = InProcess(int8)
        wanted = await here.encode_items(VERSION, tokens, timeout=0)
        np.testing.assert_allclose(vectors[VERSION], wanted, rtol=1e-4, atol=1e-4)
        assert np.abs(vectors[1] - vectors[VERSION]).max() > 1e-4
        histories = random_histories(40, 30, int8.manifest.width)
        folds = await model.fold(VERSION, histories, timeout=20)
        expected = await here.fold(VERSION, histories, timeout=0)
        np.testing.assert_allclose(folds.states.state, expected.states.state, rtol=1e-4, atol=1e-4)
    finally:
        await model.close()
        restrict(triton.repository, [float32.manifest.version])
        await load(settings)
        sweep(triton.repository)
