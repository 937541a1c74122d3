"""The selector moves items, but never loses, adds or repeats one."""

from math import ceil, floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranking.rules.placement import Quota, place
from ranking.selector import by_score, capped, select
from ranking.settings import SurfaceSettings

scores = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 2.0]), st.floats(allow_nan=True, allow_infinity=True)), max_size=60
)


@st.composite
def fields(draw):
    values = draw(scores)
    m = len(values)
    ids = draw(st.lists(st.text(min_size=1, max_size=3), min_size=m, max_size=m, unique=True))
    categories = draw(st.lists(st.integers(-1, 4), min_size=m, max_size=m))
    fresh = draw(st.lists(st.booleans(), min_size=m, max_size=m))
    return (np.array(values, np.float64), ids, np.array(categories, np.int64), np.array(fresh, np.bool_))


surfaces = st.builds(
    SurfaceSettings,
    category_share=st.floats(0.01, 1),
    exploration_share=st.floats(0, 0.5),
)


def chosen_of(field, count, surface):
    values, ids, categories, fresh = field
    return select(values, ids.__getitem__, categories, fresh, count, surface)


@given(fields(), st.integers(0, 80), surfaces)
def test_a_selection_is_as_long_as_requested_or_possible_without_duplicates(field, count, surface):
    order = chosen_of(field, count, surface).chosen
    assert len(order) == min(count, len(field[0])) == len(set(order.tolist()))


@given(fields(), st.integers(0, 80), surfaces)
def test_the_order_of_candidates_does_not_matter(field, count, surface):
    values, ids, categories, fresh = field
    back = np.arange(len(ids))[::-1]
    mirrored = chosen_of(
        (values[back], [ids[i] for i in back], categories[back], fresh[back]), count, surface
    )
    assert [ids[i] for i in chosen_of(field, count, surface).chosen] == [
        ids[back[i]] for i in mirrored.chosen
    ]


@given(fields(), st.integers(0, 80), surfaces)
def test_candidates_without_a_score_come_last(field, count, surface):
    finite = np.isfinite(field[0][chosen_of(field, count, surface).chosen]).tolist()
    assert finite == sorted(finite, reverse=True)


@given(fields())
def test_best_first_and_ties_by_item_id(field):
    values, ids, _, _ = field
    keys = [
        (not np.isfinite(values[i]), -values[i] if np.isfinite(values[i]) else 0, ids[i])
        for i in by_score(values, ids.__getitem__)
    ]
    assert keys == sorted(keys)


@given(fields(), st.integers(1, 80), surfaces)
def test_no_category_exceeds_its_cap_while_others_are_left(field, count, surface):
    values, ids, categories, fresh = field
    plain = surface.model_copy(update={"exploration_share": 0})
    chosen = select(values, ids.__getitem__, categories, fresh, count, plain).chosen
    cap = max(1, ceil(plain.category_share * len(chosen)))
    listed = set(chosen.tolist())
    left = [i for i in range(len(ids)) if i not in listed and np.isfinite(values[i])]
    if plain.category_share == 1:
        return
    for category in set(categories[chosen].tolist()) - {-1}:
        if int((categories[chosen] == category).sum()) > cap:
            # Every item that is left out belongs to a category that is full too.
            assert all(
                categories[i] >= 0 and int((categories[chosen] == categories[i]).sum()) >= cap for i in left
            )


@given(fields(), st.integers(0, 80), surfaces)
def test_new_items_get_their_positions_as_far_as_there_are_any(field, count, surface):
    values, _, _, fresh = field
    chosen = chosen_of(field, count, surface).chosen
    could = int((fresh & np.isfinite(values)).sum())
    assert int(fresh[chosen].sum()) >= min(could, floor(surface.exploration_share * len(chosen)))


@given(fields(), st.integers(0, 80))
def test_the_evaluation_surface_keeps_the_order_of_the_scores(field, count):
    surface = SurfaceSettings(exploration_share=0, category_share=1)
    assert (
        chosen_of(field, count, surface).chosen.tolist()
        == by_score(field[0], field[1].__getitem__)[:count].tolist()
    )


def test_a_cap_moves_items_back_and_keeps_their_order():
    categories = np.array([0, 0, 0, 1, -1, -1, -1])
    assert capped(np.arange(7), categories, 2).tolist() == [0, 1, 3, 4, 5, 6, 2]


def test_new_items_are_spread_and_the_last_of_the_others_give_way():
    fresh = np.zeros(20, np.bool_)
    fresh[[3, 15, 17, 19]] = True
    # The order itself fills one of the three positions.
    placement = place(np.arange(20), 10, quotas=[Quota(fresh, 3)])
    assert placement.chosen.tolist() == [0, 1, 2, 3, 15, 4, 5, 6, 7, 17]
    assert np.flatnonzero(placement.placed_by == 0).tolist() == [4, 9]
