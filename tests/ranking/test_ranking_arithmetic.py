"""Merging, blending, slate ids and settings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.bundle.bundle import Manifest
from inference.model import Ranking
from profiles.actions import Action
from ranking.candidates import Retrieved, merge
from ranking.scorers.blend import blend
from ranking.settings import DEFAULT_SURFACE, RankingSettings, SurfaceSettings
from ranking.slate.slate_ids import SlateIds

MANIFEST = Manifest(
    version=7,
    width=4,
    state_width=4,
    actions=("click", "rate", "odd"),
    history=8,
    refold_every=4,
    text_tokens=8,
    popularity_half_lives_days=(14,),
    files={},
)
ACTIONS = {
    "click": Action(weight=0.5),
    "rate": Action(weight=2.0, positive_from=4.0, value_range=(1.0, 5.0)),
    "unused": Action(weight=100.0),
}
RANKING = Ranking(np.array([[0.2, 0.1, 0.9], [0.0, 0.5, 0.0]], np.float32), np.array([5.0, 1.0], np.float32))


@given(st.lists(st.lists(st.integers(0, 20), unique=True), max_size=5))
def test_an_item_belongs_to_the_first_source_that_retrieved_it(lists):
    merged = merge([Retrieved(str(i), np.array(rows, np.int64)) for i, rows in enumerate(lists)])
    expected: dict[int, str] = {}
    for place, rows in enumerate(lists):
        for row in rows:
            expected.setdefault(row, str(place))
    assert merged.rows.tolist() == list(expected)
    assert [merged.names[s] for s in merged.sources] == list(expected.values())


def test_the_blend_is_the_weighted_sum_over_actions_with_settings():
    assert blend(RANKING, MANIFEST, ACTIONS, SurfaceSettings()) == pytest.approx([0.3, 1.0])


def test_a_surface_may_override_action_weights():
    surface = SurfaceSettings(action_weights={"click": 0.0, "rate": -1.0})
    assert blend(RANKING, MANIFEST, ACTIONS, surface) == pytest.approx([-0.1, -0.5])


def test_a_predicted_rating_raises_or_lowers_the_score_if_configured():
    surface = SurfaceSettings(rating_weight=0.5)
    assert blend(RANKING, MANIFEST, ACTIONS, surface) == pytest.approx([0.3 + 0.1, 1.0 - 0.5])


def test_a_rating_scale_that_is_positive_throughout_lowers_no_score():
    actions = {"rate": Action(weight=1.0, positive_from=1.0, value_range=(1.0, 5.0))}
    surface = SurfaceSettings(rating_weight=1.0)
    assert blend(RANKING, MANIFEST, actions, surface) == pytest.approx([0.1 + 0.1, 0.5 + 0.0])


def test_slate_ids_are_unique_and_sort_by_time_even_if_the_clock_goes_back():
    times = iter([100.0, 100.0, 99.0, 100.5, 100.5, 200.0])
    ids = SlateIds(clock=lambda: next(times), random=lambda n: b"\xff" * n)
    made = [ids.next() for _ in range(6)]
    assert made == sorted(set(made))
    assert all(len(each) == 26 for each in made)


def test_a_surface_inherits_unset_settings_from_the_default():
    settings = RankingSettings(
        default=SurfaceSettings(nearest=7, fresh=3), surfaces={"home": SurfaceSettings(nearest=9)}
    )
    assert (settings.surface("home").nearest, settings.surface("home").fresh) == (9, 3)
    assert settings.surface("elsewhere") == settings.surface(DEFAULT_SURFACE) == settings.default


def test_the_evaluation_surface_exists_beside_configured_ones():
    settings = RankingSettings.model_validate({"surfaces": {"home": {"nearest": 9}}})
    assert settings.surface("evaluation").category_share == 1
    assert settings.surface("evaluation").exploration_share == settings.surface("evaluation").fresh == 0
