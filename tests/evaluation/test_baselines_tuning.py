"""Tuning finds the better parameters, keeps its measurements, and resumes after an interruption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.baselines import reproduction as reproduction_module
from evaluation.baselines.errors import BaselineFailed
from evaluation.baselines.interface import Method
from evaluation.baselines.published import leave_one_out, measured, random_eighths
from evaluation.baselines.reproduction import NOTHING_PUBLISHED, Published, check_reproduction
from evaluation.baselines.tune import Grids, content_key, read_grids, tune
from tests.evaluation.baseline_data import Queries, Trained, events_of, share_of_own_kind, two_kinds

GRIDS = Grids(
    3,
    {
        "popularity": {"half_life_days": (None,), "counted": ("positive",)},
        "ease": {"strength": (1e7, 5.0), "other": (1.0, 0.5), "half_life": (None, 2)},
    },
)


class Measure:
    """Counts its calls, and is interrupted at one of them."""

    def __init__(self, trained: Trained, asked: Queries, breaks_at: int | None = None) -> None:
        self.calls, self._trained, self._asked, self._breaks_at = 0, trained, asked, breaks_at

    def __call__(self, row: Method) -> float:
        if self.calls == self._breaks_at:
            raise KeyboardInterrupt
        self.calls += 1
        return share_of_own_kind(row.scores(self._asked), self._trained, self._asked)


@pytest.fixture
def trained() -> Trained:
    return two_kinds()[0]


@pytest.fixture
def asked() -> Queries:
    return two_kinds()[1]


def test_each_parameter_is_tried_and_the_first_of_equals_is_kept(
    trained: Trained, asked: Queries, tmp_path: Path
) -> None:
    measure = Measure(trained, asked)
    tuned = tune("ease", trained, measure, tmp_path, grids=GRIDS)
    assert tuned.parameters["other"] == 1.0 and tuned.parameters["half_life"] is None
    assert tuned.ndcg == 1 and tuned.tried == measure.calls >= 4


def test_what_was_measured_is_not_measured_again(trained: Trained, asked: Queries, tmp_path: Path) -> None:
    first = tune("ease", trained, Measure(trained, asked), tmp_path, grids=GRIDS)
    measure = Measure(trained, asked)
    assert tune("ease", trained, measure, tmp_path, grids=GRIDS) == first
    assert measure.calls == 0


def test_an_interrupted_search_resumes(trained: Trained, asked: Queries, tmp_path: Path) -> None:
    whole = Measure(trained, asked)
    expected = tune("ease", trained, whole, tmp_path / "whole", grids=GRIDS)
    with pytest.raises(KeyboardInterrupt):
        tune("ease", trained, Measure(trained, asked, breaks_at=2), tmp_path, grids=GRIDS)
    [kept] = tmp_path.glob("*.jsonl")
    with kept.open("a") as file:
        file.write('{"asked": {"stre')  # a write that a power cut left behind
    rest = Measure(trained, asked)
    assert tune("ease", trained, rest, tmp_path, grids=GRIDS) == expected
    assert rest.calls == whole.calls - 2


def test_keys_differ_by_data_training_rows_protocol_and_seed(trained: Trained) -> None:
    items = trained.known.items.copy()
    items[0] += 1
    mask = trained.training.copy()
    mask[0] = False
    keys = {
        content_key(trained, "ease", {}, 0),
        content_key(trained, "bpr", {}, 0),
        content_key(trained, "ease", {}, 1),
        content_key(trained, "ease", {"counted": "all"}, 0),
        content_key(replace(trained, name="future"), "ease", {}, 0),
        content_key(replace(trained, training=mask), "ease", {}, 0),
        content_key(replace(trained, known=replace(trained.known, items=items)), "ease", {}, 0),
    }
    assert len(keys) == 7


def test_the_error_names_an_invalid_grid_file(tmp_path: Path) -> None:
    path = tmp_path / "grids.yaml"
    with pytest.raises(BaselineFailed, match=r"grids.yaml is not a file of grids"):
        read_grids(path)
    path.write_text("rounds: 2\nease:\n  strength: []\n")
    with pytest.raises(BaselineFailed, match=r"no values for ease.strength, als"):
        read_grids(path)


def test_leave_one_out_holds_out_the_last_two_events_of_each_user() -> None:
    known = events_of(
        [(0, 0, 1, True), (1, 0, 2, True), (0, 1, 3, True), (0, 2, 4, False), (1, 3, 5, True)], 4
    )
    trial = leave_one_out(known)
    assert trial.training.tolist() == [True, True, False, False, True]  # user 1 has too few: all is training
    assert trial.validation.before[0].tolist() == [0] and trial.validation.relevant[0].tolist() == [1]
    assert trial.test.before[0].tolist() == [0, 2] and trial.test.relevant[0].tolist() == [2]


def test_the_random_split_tests_no_training_row() -> None:
    rows = [(user, (3 * user + n) % 40, 1000 * n + user, True) for n in range(25) for user in range(4)]
    known = events_of(rows, 40)
    trial = random_eighths(known, 0)
    assert trial.training.sum() == 4 * (25 - 2 - 2)
    for before, relevant in zip(trial.test.before, trial.test.relevant, strict=True):
        assert len(relevant) == 2 and not np.isin(relevant, known.items[before]).any()
    assert [a.tolist() for a in random_eighths(known, 0).test.before] == [
        a.tolist() for a in trial.test.before
    ]
    assert [a.tolist() for a in random_eighths(known, 1).test.before] != [
        a.tolist() for a in trial.test.before
    ]


class Fixed:
    """The same scores for every user."""

    name = "fixed"

    def __init__(self, scores: list[float]) -> None:
        self._scores = scores

    def scores(self, queries: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.tile(np.array(self._scores, np.float32), (1, 1))


def test_hr_and_ndcg_are_those_of_the_textbook() -> None:
    known = events_of([(0, 0, 1, True), (0, 1, 2, True), (0, 2, 3, True)], 15)
    queries = leave_one_out(known).test
    # Items 0 and 1 were consumed before. Item 2 is the second of the others.
    hr, ndcg = measured(Fixed([99, 98, 5, 9, *range(-11, 0)]), known, queries)
    assert hr == 1
    np.testing.assert_allclose(ndcg, 1 / np.log2(3))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(ndcg: float) -> Published:
        return Published("ease", f"small {ndcg}", lambda known, _: leave_one_out(known), 0.01, ndcg, "nobody")

    monkeypatch.setattr(reproduction_module, "PUBLISHED", (figures(0.05), figures(0.999)))
    return


@pytest.mark.usefixtures("published")
def test_a_baseline_below_the_published_figure_is_not_reproduced(trained: Trained, tmp_path: Path) -> None:
    reached = check_reproduction("ease", "small 0.05", trained.known, tmp_path, grids=GRIDS)
    assert reached.verdict == "reproduced" and "published 0.0100, 0.0500 (nobody)" in reached.sentence()
    assert (
        check_reproduction("ease", "small 0.999", trained.known, tmp_path, grids=GRIDS).verdict
        == "not reproduced"
    )


def test_without_a_published_figure_the_verdict_says_so(trained: Trained, tmp_path: Path) -> None:
    verdict = check_reproduction("popularity", "ml-100k", trained.known, tmp_path)
    assert verdict.verdict == NOTHING_PUBLISHED and verdict.ndcg is None
    assert verdict.sentence() == "popularity: no published figure on data at hand"
