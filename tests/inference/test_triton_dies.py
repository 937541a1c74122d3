"""A killed Triton costs its callers next to nothing, and is used again as soon as it is back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from inference.bundle.bundle import Bundle, read
from inference.model import ModelUnavailable, States, Steps
from inference.repository.repository import install, load, versions
from inference.settings import TritonSettings
from inference.triton import TritonModel
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from tests.models.tiny_bundle import build


@pytest.fixture
async def own_triton(bundle: Path, tmp_path: Path) -> AsyncIterator[EmbeddedTriton]:
    install(read(bundle), tmp_path / "repository")
    server = EmbeddedTriton(tmp_path / "repository", tmp_path, free_port())
    await server.start()
    yield server
    server.kill()


def one_step(checked: Bundle) -> Steps:
    m = checked.manifest
    return Steps(
        np.zeros((1, m.state_width), np.float32),
        np.ones((1, m.width), np.float32),
        np.ones(1, np.int64),
        np.zeros(1, np.float32),
        np.full(1, np.nan, np.float32),
    )


async def step_when_back(model: TritonModel, steps: Steps, version: int = 1) -> States:
    async with asyncio.timeout(60):
        while True:
            try:
                return await model.step(version, steps, timeout=1)
            except ModelUnavailable:
                await asyncio.sleep(0.05)


@pytest.mark.drill
async def test_after_a_kill_calls_fail_at_once_and_recover_by_themselves(
    own_triton: EmbeddedTriton, bundle: Path
) -> None:
    checked = read(bundle)
    settings = TritonSettings(address=own_triton.address, breaker_open_ms=2000, breaker_open_max_ms=2000)
    model = TritonModel(settings, [checked.manifest])
    steps = one_step(checked)
    before = await model.step(1, steps, timeout=20)
    own_triton.kill()
    for _ in range(settings.breaker_failures):
        with pytest.raises(ModelUnavailable):
            await model.step(1, steps, timeout=0.5)
    # A hundred calls within one pause are all refused before they reach the network.
    for _ in range(100):
        with pytest.raises(ModelUnavailable, match="circuit breaker"):
            await model.step(1, steps, timeout=0.5)
    assert not await model.ready(1)
    await own_triton.start()
    after = await step_when_back(model, steps)
    np.testing.assert_allclose(after.state, before.state, atol=1e-6)
    await model.close()


@pytest.mark.drill
async def test_a_version_of_another_width_is_loaded_beside_the_first(
    own_triton: EmbeddedTriton, tmp_path: Path
) -> None:
    wide = await asyncio.to_thread(build, tmp_path / "wide", width=24, version=2)
    second = read(wide)
    install(second, own_triton.repository)
    assert versions(own_triton.repository) == [1, 2]
    model = TritonModel(TritonSettings(address=own_triton.address), [second.manifest])
    assert not await model.ready(2)
    await load(TritonSettings(address=own_triton.address))
    assert await model.ready(2)
    found = await model.step(2, one_step(second), timeout=20)
    assert found.user_vector.shape == (1, 24)
    # The first version still answers.
    old = TritonModel(
        TritonSettings(address=own_triton.address),
        [second.manifest.model_copy(update={"version": 1, "width": 16, "state_width": 32})],
    )
    steps = Steps(
        np.zeros((1, 32), np.float32),
        np.ones((1, 16), np.float32),
        np.ones(1, np.int64),
        np.zeros(1, np.float32),
        np.full(1, np.nan, np.float32),
    )
    assert (await old.step(1, steps, timeout=20)).user_vector.shape == (1, 16)
    await model.close()
    await old.close()
