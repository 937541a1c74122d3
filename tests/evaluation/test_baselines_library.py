"""Baselines of libraries, in their own environment: they learn, answer for unseen histories, and report errors."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.baselines.errors import BaselineFailed, EnvironmentMissing
from evaluation.baselines.fit import fit
from evaluation.baselines.interface import Parameters
from evaluation.baselines.library_method import LibraryMethod
from evaluation.baselines.process import ENVIRONMENT, LibraryProcess
from tests.evaluation.baseline_data import events_of, share_of_own_kind, two_kinds

POPULAR: Parameters = {"half_life_days": None, "counted": "positive"}
PARAMETERS: dict[str, Parameters] = {
    "als": {
        "other": 1.0,
        "factors": 4,
        "regularization": 0.1,
        "alpha": 5.0,
        "half_life": None,
        "iterations": 10,
    },
    "bpr": {
        "user": "trained",
        "prior": 1.0,
        "other": 1.0,
        "half_life": None,
        "factors": 4,
        "learning_rate": 0.1,
        "regularization": 0.001,
        "iterations": 200,
    },
    "sasrec": {
        "dropout": 0.1,
        "temperature": None,
        "learning_rate": 0.01,
        "width": 16,
        "other": 1.0,
        "blocks": 1,
        "heads": 1,
        "length": 5,
        "batch": 16,
        "epochs_at_most": 60,
        "patience": 30,
    },
}

# SASRec comes with a training framework, which takes long to load in each process.
METHODS = [pytest.param(name, marks=pytest.mark.drill) if name == "sasrec" else name for name in PARAMETERS]


@pytest.fixture(scope="module", autouse=True)
def environment() -> None:
    """Skips the tests if the environment of the libraries is not installed. In CI they fail."""
    if not (ENVIRONMENT / "installed").is_file():
        reason = "the environment of the baseline libraries is not installed: make .envs/references/installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module", params=METHODS)
def fitted(request: pytest.FixtureRequest) -> Iterator[tuple[str, LibraryMethod, Parameters]]:
    trained, _ = two_kinds()
    row, found = fit(request.param, trained, PARAMETERS[request.param], popular=POPULAR)
    assert isinstance(row, LibraryMethod)
    with closing(row):
        yield request.param, row, found


def test_it_finds_items_of_the_users_kind(fitted: tuple[str, LibraryMethod, Parameters]) -> None:
    trained, asked = two_kinds()
    assert share_of_own_kind(fitted[1].scores(asked), trained, asked) > 0.9


def test_the_history_of_the_query_decides_unless_bpr_trained_on_the_user(
    fitted: tuple[str, LibraryMethod, Parameters],
) -> None:
    name, row, _ = fitted
    trained, asked = two_kinds()
    # Even users get the histories of odd ones, and the other way round.
    swapped = replace(asked, before=[asked.before[place ^ 1] for place in range(len(asked.users))])
    shares = share_of_own_kind(row.scores(swapped), trained, swapped)
    # bpr keeps its trained users. All others read the history of the query.
    assert shares > 0.9 if name == "bpr" else shares < 0.1


def test_an_unknown_user_gets_the_popular_list(
    fitted: tuple[str, LibraryMethod, Parameters],
) -> None:
    name, row, _ = fitted
    trained, asked = two_kinds()
    nobody = replace(asked, before=[np.empty(0, np.int64) for _ in asked.users])
    popular, _ = fit("popularity", trained, POPULAR, popular=POPULAR)
    if name != "bpr":
        np.testing.assert_array_equal(row.scores(nobody), popular.scores(nobody))


def test_sasrec_reports_its_best_number_of_epochs(fitted: tuple[str, LibraryMethod, Parameters]) -> None:
    name, _, found = fitted
    assert ("epochs" in found) == (name == "sasrec")
    if name == "sasrec":
        assert 1 <= int(str(found["epochs"])) <= 60


@pytest.mark.parametrize("name", METHODS)
def test_equal_seeds_give_equal_scores_and_held_out_rows_change_nothing(name: str) -> None:
    trained, asked = two_kinds()
    items = trained.known.items.copy()
    items[~trained.training] = 0
    other = replace(trained, known=replace(trained.known, items=items))
    parameters = {**PARAMETERS[name], "epochs": 3}
    scores = []
    for world, seed in ((trained, 1), (other, 1), (trained, 2)):
        row, _ = fit(name, world, parameters, popular=POPULAR, seed=seed)
        assert isinstance(row, LibraryMethod)
        with closing(row):
            scores.append(row.scores(asked))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_bpr_can_read_histories_too() -> None:
    trained, asked = two_kinds()
    row, _ = fit("bpr", trained, {**PARAMETERS["bpr"], "user": "history"}, popular=POPULAR)
    assert isinstance(row, LibraryMethod)
    with closing(row):
        swapped = replace(asked, before=[asked.before[place ^ 1] for place in range(len(asked.users))])
        assert share_of_own_kind(row.scores(swapped), trained, swapped) < 0.1


def test_items_that_were_not_trained_on_are_not_listed() -> None:
    trained, asked = two_kinds()
    known = replace(trained.known, item_ids=[*trained.known.item_ids, "new"])
    row, _ = fit("als", replace(trained, known=known), PARAMETERS["als"], popular=POPULAR)
    assert isinstance(row, LibraryMethod)
    with closing(row):
        scores = row.scores(asked)
    assert np.isneginf(scores[:, -1]).all() and np.isfinite(scores[:, :-1]).all()


@pytest.mark.drill
def test_histories_longer_than_the_length_are_trained_on_completely() -> None:
    # Item 0 is followed by 1 only at the beginning of long histories, and by nothing else.
    rows = [(user, 0, user, True) for user in range(30)] + [(user, 1, 100 + user, True) for user in range(30)]
    random = np.random.default_rng(0)
    for step in range(12):
        rows += [(user, int(random.integers(2, 12)), 1000 + 100 * step + user, True) for user in range(30)]
    known = events_of(rows, 12)
    world = replace(two_kinds()[0], known=known, training=np.ones(len(known), np.bool_))
    asked = replace(
        two_kinds()[1],
        users=np.array([0]),
        before=[np.array([0])],
        time_ms=known.time_ms[-1:],
        visible=np.array([len(known)]),
    )
    row, _ = fit("sasrec", world, {**PARAMETERS["sasrec"], "epochs": 40}, popular=POPULAR)
    assert isinstance(row, LibraryMethod)
    with closing(row):
        assert row.scores(asked)[0].argmax() == 1


@pytest.mark.drill
def test_a_long_training_is_kept_and_reused(tmp_path: Path) -> None:
    split, queries = two_kinds()
    said: list[str] = []

    def made(parameters: Parameters) -> tuple[Parameters, np.ndarray]:
        said.clear()
        row, found = fit("sasrec", split, parameters, popular=POPULAR, kept=tmp_path, say=said.append)
        assert isinstance(row, LibraryMethod)
        with closing(row):
            return found, row.scores(queries)

    parameters = {**PARAMETERS["sasrec"], "epochs": 10}
    found, scores = made(parameters)
    assert said
    again, taken_up = made(parameters)
    assert not said and again == found
    np.testing.assert_array_equal(taken_up, scores)
    made({**parameters, "epochs": 11})
    assert said
    for kept in tmp_path.iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    again, fitted_anew = made(parameters)
    assert said and again == found
    np.testing.assert_array_equal(fitted_anew, scores)


def test_progress_is_passed_on() -> None:
    said: list[str] = []
    row, _ = fit("als", two_kinds()[0], PARAMETERS["als"], popular=POPULAR, say=said.append)
    assert isinstance(row, LibraryMethod)
    row.close()
    assert said[0] == "iteration 1 of 10" and len(said) == 10


def test_an_error_has_the_message_of_the_library_and_ends_the_process() -> None:
    parameters = {**PARAMETERS["als"], "seed": 0, "threads": 1}
    with LibraryProcess("factors.py", threads=1) as process:
        with pytest.raises(BaselineFailed, match="fit failed: KeyError: 'users'"):
            process.ask("fit", {}, timeout=60, model="als", parameters=parameters)
        with pytest.raises(BaselineFailed, match="its process has ended"):
            process.ask("encode", {}, timeout=60)


def test_a_request_has_a_timeout() -> None:
    with (
        LibraryProcess("sasrec.py", threads=1) as process,
        pytest.raises(BaselineFailed, match=r"within 0.01 s"),
    ):
        process.ask("encode", {}, timeout=0.01)


def test_a_missing_environment_is_an_error_that_names_the_make_target(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="make .envs/references/installed"):
        LibraryProcess("factors.py", threads=1, environment=tmp_path)
