"""What the ranker sees of a catalogue: the nearest, what is like the last liked items, and the popular."""

import numpy as np

from evaluation.methods.blend import Blend
from evaluation.methods.candidates import CandidateSettings, candidates, last_liked, top
from profiles.actions import Action
from tests.evaluation.world import HOUR_MS, known, liked

NONE = CandidateSettings(nearest=0, similar=0, popular=0)


def propose(settings: CandidateSettings, **given: object) -> list[list[int]]:
    """Items 0 to 9 on a line, popular from 9 down, near the user from 0 up; two lists unless said otherwise."""
    vectors = np.stack([np.cos(np.arange(10) / 10), np.sin(np.arange(10) / 10)], 1).astype(np.float32)
    asked = {
        "near": np.tile(-np.arange(10.0, dtype=np.float32), (2, 1)),
        "popular": np.tile(np.arange(10.0, dtype=np.float32), (2, 1)),
        "seeds": [np.zeros(0, np.int64)] * 2,
        "with_history": np.array([True, False]),
        "allowed": np.ones((2, 10), np.bool_),
        "vectors": vectors,
        "places": 1,
    } | given
    return [np.flatnonzero(row).tolist() for row in candidates(settings=settings, **asked)]  # type: ignore[arg-type]


def test_popular_items_fill_the_list_however_few_are_wanted() -> None:
    assert propose(NONE, positions=3) == [[7, 8, 9], [7, 8, 9]]


def test_near_a_user_of_whom_nothing_is_known_is_nothing() -> None:
    assert propose(NONE.model_copy(update={"nearest": 2})) == [[0, 1, 9], [9]]


def test_what_is_not_allowed_is_no_candidate() -> None:
    allowed = np.ones((2, 10), np.bool_)
    allowed[:, [0, 9]] = False
    settings = CandidateSettings(nearest=2, similar=2, popular=1)
    seeds = [np.array([0]), np.zeros(0, np.int64)]
    assert propose(settings, allowed=allowed, seeds=seeds) == [[1, 2, 8], [8]]
    assert propose(settings, allowed=np.zeros((2, 10), np.bool_), seeds=seeds) == [[], []]


def test_similar_items_come_in_turns_and_none_twice() -> None:
    seeds = [np.array([2, 6]), np.array([5])]
    found = propose(NONE.model_copy(update={"similar": 4}), seeds=seeds)
    # Of item 2 and of item 6 two each; of item 5 four, itself not among them.
    assert len(found[0]) == 5 and {1, 3, 5, 7, 9} == set(found[0])
    assert len(found[1]) == 5 and {4, 6, 9} < set(found[1]) and 5 not in found[1]


def test_items_liked_last_are_not_similar_to_each_other() -> None:
    """Where they may be recommended again they are near the user if anything: these are what lies around them."""
    seeds = [np.array([2, 3]), np.zeros(0, np.int64)]
    found = propose(NONE.model_copy(update={"similar": 4}), seeds=seeds)[0]
    assert not {2, 3} & set(found) and len(found) == 5


def test_the_last_word_on_an_item_decides_whether_it_was_liked() -> None:
    rows = [
        *liked("ann", "abc"),
        ("ann", "a", "rate", 5 * HOUR_MS, 1.0),
        ("ann", "d", "view", 6 * HOUR_MS, np.nan),
    ]
    events = known(rows)
    found = last_liked(events, events.by_user()[0], 3)
    assert [events.item_ids[item] for item in found] == ["c", "b"]
    assert len(last_liked(events, events.by_user()[0], 1)) == 1


def test_fewer_than_wanted_are_all_there_are() -> None:
    allowed = np.array([[True, False, True]])
    assert top(np.array([[1.0, 9, 2]], np.float32), allowed, 2).tolist() == [[True, False, True]]
    assert top(np.array([[1.0, 9, 2]], np.float32), allowed, 7).tolist() == [[True, False, True]]
    assert top(np.array([[1.0, 9, 2]], np.float32), allowed, 1).tolist() == [[False, False, True]]
    assert not top(np.array([[1.0, 9, 2]], np.float32), allowed, 0).any()


def test_the_blend_is_the_servers() -> None:
    from inference.bundle.bundle import Manifest
    from inference.model import Ranking
    from ranking.scorers.blend import blend
    from ranking.settings import SurfaceSettings

    actions = {
        "rate": Action(positive_from=4.0, value_range=(1, 5)),
        "hide": Action(weight=-1.0, positive_from=1.0, value_range=(1, 3)),
        "view": Action(weight=0.2),
    }
    names = ("rate", "unknown", "hide", "view")
    rng = np.random.default_rng(0)
    probabilities = rng.random((2, 7, 4)).astype(np.float32)
    values = rng.uniform(0, 6, (2, 7)).astype(np.float32)
    manifest = Manifest.model_construct(actions=names)
    for weight in (0.0, 0.7):
        found = Blend(names, actions, weight).scores(probabilities, values)
        for place in range(2):
            expected = blend(
                Ranking(probabilities[place], values[place]),
                manifest,
                actions,
                SurfaceSettings(rating_weight=weight),
            )
            np.testing.assert_allclose(found[place], expected, rtol=1e-5)
