"""Conversion of a profile's entries to arrays for the graphs."""

from pathlib import Path

import numpy as np

from inference.bundle.bundle import read
from inference.histories import histories, idle_seconds, step_input
from inference.model import Floats
from profiles.folding.events import Position
from profiles.profile import Entry, ModelState

VECTORS = {"red": np.full(16, 1.0, np.float32), "blue": np.full(16, 2.0, np.float32)}


def entry(item: str, action: str, time_ms: int, value: float | None = None) -> Entry:
    return Entry(f"e{time_ms}", item, action, time_ms, Position(b"t" * 16, 0, time_ms), value)


def vector(item_id: str) -> Floats | None:
    return VECTORS.get(item_id)


def test_events_are_in_order_and_padded_on_the_right(bundle: Path) -> None:
    manifest = read(bundle).manifest
    ann = [entry("red", "view", 1000), entry("blue", "rate", 4500, 4.5), entry("red", "dance", 4500)]
    found, unknown = histories([ann, [], [entry("green", "view", 7)]], vector, manifest)
    assert found.item_vectors[:, :, 0].tolist() == [[1, 2, 1], [0, 0, 0], [0, 0, 0]]
    assert found.actions.tolist() == [[1, 9, 0], [0, 0, 0], [1, 0, 0]]
    assert found.gap_seconds.tolist() == [[0, 3.5, 0], [0, 0, 0], [0, 0, 0]]
    assert found.mask.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert found.values[0, 1] == 4.5 and np.isnan(found.values).sum() == 8
    assert unknown == [False, False, True]


def test_a_value_that_float32_cannot_hold_stays_finite(bundle: Path) -> None:
    found, _ = histories([[entry("red", "view", 1, 1e300)]], vector, read(bundle).manifest)
    assert np.isfinite(found.values[0, 0])


def test_a_step_has_the_event_and_the_gap_to_the_entry_before(bundle: Path) -> None:
    manifest = read(bundle).manifest
    ann = [entry("red", "view", 1000), entry("green", "rate", 4500, 4.5)]
    state = ModelState(1, np.arange(32, dtype="<f4").tobytes(), bytes(64))
    steps, unknown = step_input([state, state], [ann[0], None], [ann[1], ann[0]], vector, manifest)
    assert steps.state[0].tolist() == list(range(32))
    assert steps.gap_seconds.tolist() == [3.5, 0] and steps.actions.tolist() == [9, 1]
    assert unknown == [True, False]


def test_idle_time_is_negative_only_without_events() -> None:
    ann = [entry("red", "view", 1000), entry("blue", "view", 4500)]
    assert idle_seconds(ann, 10_000) == 5.5
    assert idle_seconds(ann, 4000) == 0
    assert idle_seconds([], 4000) == -1
