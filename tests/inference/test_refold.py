"""Model states of profiles, by folds and by steps."""

from pathlib import Path

import numpy as np

from inference.bundle.bundle import read
from inference.model import Floats
from inference.refold import advance, refold, states_of
from profiles.folding.events import Position
from profiles.profile import Entry
from tests.models.model_in_process import InProcess

KNOWN = {f"item-{i}": np.random.default_rng(i).standard_normal(16).astype(np.float32) for i in range(20)}


def vector(item_id: str) -> Floats | None:
    return KNOWN.get(item_id)


def entries(count: int, first_item: int = 0) -> list[Entry]:
    place = Position(b"t" * 16, 0, 0)
    return [
        Entry(f"e{i}", f"item-{(first_item + i) % 20}", "rate", 1000 * i * i, place, 1.0 + i % 5)
        for i in range(count)
    ]


async def test_refold_then_steps_equal_one_refold(bundle: Path) -> None:
    checked = read(bundle)
    model, manifest = InProcess(checked), checked.manifest
    users = [entries(12), entries(30, 5)]
    states = await refold(model, manifest, [u[:7] for u in users], vector, timeout=1)
    for place in range(7, 12):
        before = [u[place - 1] for u in users]
        states = await advance(model, manifest, states, before, [u[place] for u in users], vector, timeout=1)
    whole = await refold(model, manifest, [u[:12] for u in users], vector, timeout=1)
    for stepped, folded in zip(states, whole, strict=True):
        assert not stepped.stale and not folded.stale
        np.testing.assert_allclose(states_of(stepped).state, states_of(folded).state, atol=1e-4)
        np.testing.assert_allclose(states_of(stepped).user_vector, states_of(folded).user_vector, atol=1e-4)


async def test_the_first_step_starts_from_an_empty_history(bundle: Path) -> None:
    checked = read(bundle)
    model, manifest, one = InProcess(checked), checked.manifest, entries(1)
    (empty,) = await refold(model, manifest, [()], vector, timeout=1)
    assert not empty.stale and not np.frombuffer(empty.state, "<f4").any()
    (stepped,) = await advance(model, manifest, [empty], [None], one, vector, timeout=1)
    (folded,) = await refold(model, manifest, [one], vector, timeout=1)
    np.testing.assert_allclose(states_of(stepped).state, states_of(folded).state, atol=1e-5)


async def test_an_unknown_item_makes_only_its_users_state_stale(bundle: Path) -> None:
    checked = read(bundle)
    place = Position(b"t" * 16, 0, 0)
    users = [entries(3), [*entries(2), Entry("x", "never seen", "view", 9, place)], []]
    found = await refold(InProcess(checked), checked.manifest, users, vector, timeout=1)
    assert [state.stale for state in found] == [False, True, False]
    assert await refold(InProcess(checked), checked.manifest, [], vector, timeout=1) == []
