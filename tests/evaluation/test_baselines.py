"""The baselines compute what the literature says, from training rows only, and are deterministic."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.baselines.ease import ease
from evaluation.baselines.errors import BaselineFailed, TooManyItems
from evaluation.baselines.fit import fit
from evaluation.baselines.gram import ITEMS_AT_MOST, gram
from evaluation.baselines.history import History
from evaluation.baselines.item_knn import item_knn
from evaluation.baselines.item_to_item import with_ties_by
from evaluation.baselines.popularity import Popularity
from evaluation.baselines.tune import read_grids
from tests.evaluation.baseline_data import Queries, events_of, share_of_own_kind, two_kinds

POPULAR = {"half_life_days": None, "counted": "positive"}
PARAMETERS = {
    "popularity": POPULAR,
    "item-knn": {"other": 1.0, "half_life": 4, "shrinkage": 1, "neighbours": 20, "leaning": 0.5},
    "ease": {"other": 1.0, "half_life": 4, "strength": 5},
}
DAY = 86_400_000

triples = st.lists(
    st.tuples(st.integers(0, 150), st.integers(0, 6), st.sampled_from([0.5, 1.0])), min_size=1, max_size=300
)


@given(triples)
def test_the_gram_matrix_is_that_of_the_dense_table(rows: list[tuple[int, int, float]]) -> None:
    dense = np.zeros((151, 7), np.float32)
    for user, item, weight in rows:
        dense[user, item] = max(dense[user, item], weight)
    users, items, weights = (np.array(column) for column in zip(*rows, strict=True))
    np.testing.assert_allclose(gram(users, items, weights.astype(np.float32), 7), dense.T @ dense, rtol=1e-5)


def test_a_catalogue_too_large_for_a_dense_matrix_is_refused() -> None:
    one = np.zeros(1, np.int64)
    with pytest.raises(TooManyItems, match="more than"):
        gram(one, one, np.ones(1, np.float32), ITEMS_AT_MOST + 1)


def test_ease_is_the_ridge_regression_of_each_item_on_all_others() -> None:
    dense = (np.random.default_rng(0).random((30, 6)) < 0.4).astype(np.float64)
    users, items = np.nonzero(dense)
    found = ease(users, items, np.ones(len(users), np.float32), 6, 2.0)
    for item in range(6):
        others = [i for i in range(6) if i != item]
        x = dense[:, others]
        by_hand = np.linalg.solve(x.T @ x + 2.0 * np.eye(5), x.T @ dense[:, item])
        np.testing.assert_allclose(found[others, item], by_hand, atol=1e-5)
        assert found[item, item] == 0


def test_ease_gives_no_weight_to_items_without_events() -> None:
    found = ease(np.array([0, 0, 1]), np.array([0, 2, 2]), np.ones(3, np.float32), 4, 1.0)
    assert not found[[1, 3]].any() and not found[:, [1, 3]].any()
    assert found[0, 2] > 0


def test_item_knn_is_the_shrunk_cosine_by_hand() -> None:
    # Item 0 had by users 0 1 2, item 1 by 0 1, item 2 by 2.
    users, items = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 2])
    found = item_knn(users, items, np.ones(6, np.float32), 3, neighbours=3, shrinkage=1.0, leaning=0.5)
    by_hand = [
        [0, 2 / (np.sqrt(6) + 1), 1 / (np.sqrt(3) + 1)],
        [2 / (np.sqrt(6) + 1), 0, 0],
        [1 / (np.sqrt(3) + 1), 0, 0],
    ]
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)


def test_item_knn_keeps_the_nearest_of_each_candidate() -> None:
    users, items = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 2])
    found = item_knn(users, items, np.ones(6, np.float32), 3, neighbours=1, shrinkage=0.0, leaning=0.5)
    assert found[1, 0] > 0 and found[2, 0] == 0  # item 1 is the nearest to candidate 0


def test_a_leaning_cosine_favours_the_popular_candidate() -> None:
    users, items = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 2])
    found = item_knn(users, items, np.ones(6, np.float32), 3, neighbours=3, shrinkage=0.0, leaning=1.0)
    np.testing.assert_allclose(found[2, 0], 1.0)  # all who had item 2 had item 0
    np.testing.assert_allclose(found[0, 2], 1 / 3)


def test_history_weights_decay_and_depend_on_likes() -> None:
    known = events_of([(0, 0, 1, True), (0, 1, 2, False), (0, 2, 3, True)], 3)
    items, weights = History(known, other=0.5, half_life=1).weighted(np.arange(3))
    assert items.tolist() == [0, 1, 2]
    np.testing.assert_allclose(weights, [0.25, 0.25, 1])
    items, weights = History(known, other=0.0).weighted(np.arange(3))
    assert items.tolist() == [0, 2] and weights.tolist() == [1, 1]


def test_popularity_counts_what_is_visible_and_no_more() -> None:
    known = events_of(
        [(0, 0, DAY, True), (1, 1, 2 * DAY, True), (0, 1, 3 * DAY, False), (1, 0, 4 * DAY, True)], 2
    )
    asked = Queries(
        np.zeros(3, np.int64), [np.empty(0, np.int64)] * 3, np.array([4, 1, 4]) * DAY, np.array([3, 1, 0])
    )
    plain = Popularity(known, known.positive, None).scores(asked)
    assert plain.tolist() == [[1, 1], [1, 0], [0, 0]]
    aged = Popularity(known, np.ones(4, np.bool_), 1.0).scores(asked)
    np.testing.assert_allclose(aged[0], [1 / 8, 1 / 4 + 1 / 2])


def test_popularity_does_not_depend_on_batches() -> None:
    trained, asked = two_kinds()
    row = Popularity(trained.known, trained.training, 0.01)
    asked = replace(
        asked, visible=np.arange(len(asked.users)) * 7, time_ms=np.arange(len(asked.users)) * 7000
    )
    whole = row.scores(asked)
    for place in (30, 3, 17):
        one = Queries(
            asked.users[[place]], [asked.before[place]], asked.time_ms[[place]], asked.visible[[place]]
        )
        np.testing.assert_allclose(row.scores(one)[0], whole[place], rtol=1e-5)


def test_popularity_counts_all_events_in_next_item_and_training_elsewhere() -> None:
    trained, asked = two_kinds()
    late = replace(asked, visible=np.full(len(asked.users), len(trained.known)))
    static, _ = fit("popularity", trained, POPULAR, popular=POPULAR)
    live, _ = fit("popularity", replace(trained, name="next-item"), POPULAR, popular=POPULAR)
    assert static.scores(late)[0].sum() == trained.training.sum()
    assert live.scores(late)[0].sum() == len(trained.known)


def test_popularity_breaks_ties_and_changes_no_other_order() -> None:
    mixed = with_ties_by(
        np.array([[1, 1, 0.5], [0, 0, 0]], np.float32), np.array([[1, 3, 9], [1, 3, 2]], np.float32)
    )
    assert np.argsort(-mixed[0]).tolist() == [1, 0, 2]
    assert np.argsort(-mixed[1]).tolist() == [1, 2, 0]


@pytest.mark.parametrize("name", ["item-knn", "ease"])
def test_item_to_item_baselines_find_items_of_the_users_kind(name: str) -> None:
    trained, asked = two_kinds()
    row, _ = fit(name, trained, PARAMETERS[name], popular=POPULAR)
    assert share_of_own_kind(row.scores(asked), trained, asked) == 1


@pytest.mark.parametrize("name", ["item-knn", "ease"])
def test_a_user_without_history_gets_the_popular_list(name: str) -> None:
    trained, asked = two_kinds()
    nobody = replace(asked, before=[np.empty(0, np.int64) for _ in asked.users])
    row, _ = fit(name, trained, PARAMETERS[name], popular=POPULAR)
    popular, _ = fit("popularity", trained, POPULAR, popular=POPULAR)
    order = np.argsort(-popular.scores(nobody)[0], kind="stable")
    assert np.argsort(-row.scores(nobody)[0], kind="stable").tolist() == order.tolist()


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_held_out_rows_do_not_matter_and_fits_are_deterministic(name: str) -> None:
    trained, asked = two_kinds()
    row, _ = fit(name, trained, PARAMETERS[name], popular=POPULAR)
    items = trained.known.items.copy()
    items[~trained.training] = 0
    other = replace(trained, known=replace(trained.known, items=items))
    again, _ = fit(name, other, PARAMETERS[name], popular=POPULAR)
    np.testing.assert_array_equal(row.scores(asked), again.scores(asked))


def test_an_unknown_baseline_and_a_missing_parameter_are_named() -> None:
    trained, _ = two_kinds()
    with pytest.raises(BaselineFailed, match="other must be a number, not None"):
        fit("ease", trained, {}, popular=POPULAR)
    with pytest.raises(BaselineFailed, match="no baseline is called 'slim'"):
        fit("slim", trained, {"other": 1.0}, popular=POPULAR)


def test_the_grids_have_values_for_everything() -> None:
    grids = read_grids()
    assert grids.rounds >= 1
    for name in ("popularity", "item-knn", "ease", "als", "bpr", "sasrec"):
        assert all(grids.values[name].values())
