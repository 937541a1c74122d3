"""A model that answers nonsense counts as one that does not answer. None of it reaches a caller."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from inference.bundle.bundle import read
from inference.model import ModelUnavailable, NotFinite, Steps
from inference.refold import advance
from inference.repository.repository import install
from inference.settings import TritonSettings
from inference.triton import TritonModel
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from profiles.folding.events import Position
from profiles.profile import Entry, ModelState

FINE, NAN_AFTER_FIRST, INFINITE, WRONG_SHAPE, SLOW, ERROR = range(6)
FAULTY = '''
import pathlib
import time
import numpy as np
import triton_python_backend_utils as pb

FOLDER = pathlib.Path(__file__).parent


class TritonPythonModel:
    """The action of the request selects the fault."""

    def execute(self, requests):
        with (FOLDER / "runs").open("a") as runs:
            runs.write("run\\n" * len(requests))
        answers = []
        for request in requests:
            state = pb.get_input_tensor_by_name(request, "state").as_numpy().copy()
            vector = pb.get_input_tensor_by_name(request, "item_vector").as_numpy().copy()
            fault = pb.get_input_tensor_by_name(request, "action").as_numpy()
            if (fault == 1).any():
                state[1:] = np.nan
            if (fault == 2).any():
                vector[:, 3] = np.inf
            if (fault == 3).any():
                state = state[:, :5]
            if (fault == 4).any():
                (FOLDER / "begun").touch()
                while not (FOLDER / "go on").exists():
                    time.sleep(0.01)
            if (fault == 5).any():
                answers.append(pb.InferenceResponse(error=pb.TritonError("boom")))
                continue
            answers.append(
                pb.InferenceResponse([pb.Tensor("next_state", state), pb.Tensor("user_vector", vector)])
            )
        return answers
'''


@pytest.fixture(scope="module")
def faulty(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTriton]:
    folder = tmp_path_factory.mktemp("faulty")
    install(read(bundle), folder / "repository")
    (folder / "repository" / "user_step" / "1" / "model.py").write_text(FAULTY)
    server = EmbeddedTriton(folder / "repository", folder, free_port())
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture
async def model(faulty: EmbeddedTriton, bundle: Path) -> AsyncIterator[TritonModel]:
    found = TritonModel(TritonSettings(address=faulty.address), [read(bundle).manifest])
    yield found
    await found.close()


def steps(rows: int, fault: int) -> Steps:
    return Steps(
        np.ones((rows, 32), np.float32),
        np.ones((rows, 16), np.float32),
        np.full(rows, fault, np.int64),
        np.zeros(rows, np.float32),
        np.zeros(rows, np.float32),
    )


async def test_numbers_that_are_not_finite_are_refused_with_their_rows(model: TritonModel) -> None:
    with pytest.raises(NotFinite) as error:
        await model.step(1, steps(4, NAN_AFTER_FIRST), timeout=20)
    assert error.value.rows == (1, 2, 3)
    with pytest.raises(NotFinite) as error:
        await model.step(1, steps(2, INFINITE), timeout=20)
    assert error.value.rows == (0, 1)


@pytest.mark.parametrize("fault", [WRONG_SHAPE, ERROR])
async def test_wrong_shapes_and_errors_raise_model_unavailable(model: TritonModel, fault: int) -> None:
    with pytest.raises(ModelUnavailable):
        await model.step(1, steps(3, fault), timeout=20)
    await model.step(1, steps(3, FINE), timeout=20)


def runs_so_far(signals: Path) -> int:
    """Number of requests that the model has run, by its own count. Triton's statistics follow the answers late."""
    runs = signals / "runs"
    return len(runs.read_text().splitlines()) if runs.exists() else 0


async def test_a_slow_call_times_out_and_calls_queued_behind_it_do_not_run(
    faulty: EmbeddedTriton, model: TritonModel
) -> None:
    signals = faulty.repository / "user_step" / "1"
    before = runs_so_far(signals)
    first = asyncio.create_task(model.step(1, steps(1, SLOW), timeout=3))
    async with asyncio.timeout(60):
        while not (signals / "begun").exists():
            await asyncio.sleep(0.01)
    calls = [asyncio.create_task(model.step(1, steps(1, SLOW), timeout=0.2)) for _ in range(5)]
    found = await asyncio.gather(first, *calls, return_exceptions=True)
    assert all(isinstance(answer, ModelUnavailable) for answer in found)
    (signals / "go on").touch()
    async with asyncio.timeout(60):
        while True:
            try:
                await model.step(1, steps(1, FINE), timeout=10)
                break
            except ModelUnavailable:
                await asyncio.sleep(0.05)
    # The fine one and the first. The others timed out in the queue.
    assert runs_so_far(signals) - before == 2


async def test_one_poisoned_history_does_not_make_its_whole_batch_stale(
    model: TritonModel, bundle: Path
) -> None:
    manifest = read(bundle).manifest
    state = ModelState(1, np.ones(32, "<f4").tobytes(), bytes(64))
    place = Position(b"t" * 16, 0, 1)
    fine = Entry("a", "item-0", "dance", 1000, place)
    poisoned = Entry("b", "item-0", manifest.actions[NAN_AFTER_FIRST - 1], 1000, place)
    found = await advance(
        model,
        manifest,
        [state] * 3,
        [None] * 3,
        [fine, poisoned, fine],
        lambda item_id: np.ones(16, np.float32),
        timeout=20,
    )
    assert [s.stale for s in found] == [False, True, True]
    assert all(np.isfinite(np.frombuffer(s.state, "<f4")).all() for s in found)
