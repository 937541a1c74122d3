"""The real Triton returns what the graphs compute, for single rows and for batches, by folds and by steps."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from inference.bundle.bundle import Bundle, read
from inference.model import Candidates, Floats, Histories, ModelUnavailable, States, Steps
from inference.settings import TritonSettings
from inference.triton import TritonModel
from local.servers.triton import EmbeddedTriton
from tests.models.model_in_process import InProcess, random_candidates, random_histories

TIMEOUT = 20.0


def assert_close(got: Floats, wanted: Floats) -> None:
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="session")
def checked(bundle: Path) -> Bundle:
    return read(bundle)


@pytest.fixture
async def model(triton: EmbeddedTriton, checked: Bundle) -> AsyncIterator[TritonModel]:
    found = TritonModel(TritonSettings(address=triton.address), [checked.manifest])
    yield found
    await found.close()


def rows(histories: Histories, chosen: slice) -> Histories:
    h = histories
    return Histories(
        h.item_vectors[chosen], h.actions[chosen], h.gap_seconds[chosen], h.values[chosen], h.mask[chosen]
    )


async def test_it_is_ready_only_for_served_versions(model: TritonModel) -> None:
    assert await model.ready(1)
    assert not await model.ready(2)


async def test_answers_equal_those_of_the_graphs(model: TritonModel, checked: Bundle) -> None:
    here = InProcess(checked)
    texts = ["red shoe", "", "a song of the game", "blue film"] * 10
    tokens = checked.tokens([f"item-{i}" for i in range(40)], texts)
    vectors = await model.encode_items(1, tokens, timeout=TIMEOUT)
    assert_close(vectors, await here.encode_items(1, tokens, timeout=0))

    given = random_histories(70, 96, 16)
    folds = await model.fold(1, given, timeout=TIMEOUT)
    expected = await here.fold(1, given, timeout=0)
    assert_close(folds.states.state, expected.states.state)
    assert_close(folds.states.user_vector, expected.states.user_vector)
    assert_close(folds.contributions, expected.contributions)

    user = States(folds.states.state[1:2], folds.states.user_vector[1:2])
    for count in (1, 7, 300):
        candidates = random_candidates(count, checked.manifest)
        ranking = await model.rank(1, user, candidates, timeout=TIMEOUT)
        wanted = await here.rank(1, user, candidates, timeout=0)
        assert_close(ranking.probabilities, wanted.probabilities)
        assert_close(ranking.predicted_value, wanted.predicted_value)
        assert ((ranking.probabilities >= 0) & (ranking.probabilities <= 1)).all()


async def test_steps_equal_the_fold(model: TritonModel) -> None:
    given = random_histories(8, 60, 16, seed=3)
    given = rows(given, slice(1, 2))
    state = States(np.zeros((1, 32), np.float32), np.zeros((1, 16), np.float32))
    for t in range(60):
        steps = Steps(
            state.state,
            given.item_vectors[:, t],
            given.actions[:, t],
            given.gap_seconds[:, t],
            given.values[:, t],
        )
        state = await model.step(1, steps, timeout=TIMEOUT)
    folds = await model.fold(1, given, timeout=TIMEOUT)
    assert_close(state.state, folds.states.state)
    assert_close(state.user_vector, folds.states.user_vector)


async def test_a_row_gets_the_same_answer_alone_and_in_a_batch(model: TritonModel) -> None:
    given = random_histories(32, 50, 16, seed=5)
    together = await model.fold(1, given, timeout=TIMEOUT)
    for row in range(32):
        alone = await model.fold(1, rows(given, slice(row, row + 1)), timeout=TIMEOUT)
        assert_close(together.states.state[row], alone.states.state[0])
        assert_close(together.states.user_vector[row], alone.states.user_vector[0])


async def test_a_score_does_not_depend_on_the_other_candidates(model: TritonModel, checked: Bundle) -> None:
    folds = await model.fold(1, random_histories(2, 20, 16), timeout=TIMEOUT)
    user = States(folds.states.state[1:2], folds.states.user_vector[1:2])
    all_of_them = random_candidates(50, checked.manifest)
    together = await model.rank(1, user, all_of_them, timeout=TIMEOUT)
    for place in (0, 17, 49):
        one = slice(place, place + 1)
        alone = await model.rank(
            1,
            user,
            Candidates(
                all_of_them.vectors[:, one],
                all_of_them.age_seconds[:, one],
                all_of_them.popularity[:, one],
                all_of_them.idle_seconds,
            ),
            timeout=TIMEOUT,
        )
        np.testing.assert_allclose(together.probabilities[0, place], alone.probabilities[0, 0], atol=1e-5)


async def test_a_list_gets_the_same_ranking_alone_and_in_a_batch(model: TritonModel, checked: Bundle) -> None:
    """Twenty lists exceed the graph's batch limit."""
    states = (await model.fold(1, random_histories(20, 20, 16), timeout=TIMEOUT)).states
    lists = random_candidates(30, checked.manifest, users=20)
    ranking = await model.rank(1, states, lists, timeout=TIMEOUT)
    for row in (0, 7, 19):
        one = slice(row, row + 1)
        alone = await model.rank(
            1,
            States(states.state[one], states.user_vector[one]),
            Candidates(
                lists.vectors[one], lists.age_seconds[one], lists.popularity[one], lists.idle_seconds[one]
            ),
            timeout=TIMEOUT,
        )
        assert_close(ranking.probabilities[row], alone.probabilities[0])
        assert_close(ranking.predicted_value[row], alone.predicted_value[0])


async def test_contributions_and_a_constant_sum_to_the_user_vector(model: TritonModel) -> None:
    folds = await model.fold(1, random_histories(6, 40, 16, seed=9), timeout=TIMEOUT)
    constant = folds.states.user_vector[0]
    total = folds.contributions.sum(axis=1) + constant
    assert_close(total, folds.states.user_vector)


async def test_concurrent_requests_get_their_own_answers(model: TritonModel) -> None:
    given = random_histories(40, 30, 16, seed=11)
    parts = [rows(given, slice(row, row + 1)) for row in range(40)]
    found = await asyncio.gather(*(model.fold(1, part, timeout=TIMEOUT) for part in parts))
    together = await model.fold(1, given, timeout=TIMEOUT)
    for row, fold in enumerate(found):
        assert_close(fold.states.state[0], together.states.state[row])


async def test_an_empty_request_gets_an_empty_answer(model: TritonModel, checked: Bundle) -> None:
    vectors = await model.encode_items(1, checked.tokens([], []), timeout=TIMEOUT)
    assert vectors.shape == (0, 16)
    user = States(np.zeros((1, 32), np.float32), np.zeros((1, 16), np.float32))
    ranking = await model.rank(1, user, random_candidates(0, checked.manifest), timeout=TIMEOUT)
    assert ranking.probabilities.shape == (1, 0, 9) and ranking.predicted_value.shape == (1, 0)


async def test_no_time_a_wrong_width_and_an_unknown_version_raise_model_unavailable(
    model: TritonModel,
) -> None:
    given = random_histories(2, 10, 16)
    for version, histories, timeout in (
        (1, given, 0.0),
        (1, random_histories(2, 10, 5), TIMEOUT),
        (9, given, 1.0),
    ):
        with pytest.raises(ModelUnavailable):
            await model.fold(version, histories, timeout=timeout)
    await model.fold(1, given, timeout=TIMEOUT)


async def test_a_cancelled_call_leaves_the_model_usable(model: TritonModel) -> None:
    given = random_histories(32, 96, 16)
    for _ in range(20):
        task = asyncio.create_task(model.fold(1, given, timeout=TIMEOUT))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await model.fold(1, given, timeout=TIMEOUT)
