"""The three protocols: what is learned from, what is asked, and what is left out, counted."""

import numpy as np
import pytest

from evaluation.baselines.fit import fit
from evaluation.baselines.popularity import Popularity
from evaluation.baselines.tune import read_grids
from evaluation.errors import NothingToMeasure, TimesMissing
from evaluation.metrics.beyond import Beyond
from evaluation.metrics.groups import by_item_age
from evaluation.metrics.measure import Measured, measure, ndcg
from evaluation.protocols.held_out import PROTOCOLS, Protocol
from evaluation.protocols.split import Split, split, training_part
from tests.evaluation.world import DAY_MS, HOUR_MS, crowd, ids, known, liked

# Ten hours of `ann` and `bob`: the first nine are training where there is one point in time.
TEN = [*liked("ann", "abcde"), *liked("bob", "pqcrs", 5 * HOUR_MS)]


def asked(found: Split) -> list[tuple[str, list[str], list[str]]]:
    """User, history and what is to be found, of each query."""
    events = found.known
    return [
        (events.user_ids[user], ids(events, events.items[before]), ids(events, relevant))
        for user, before, relevant in zip(
            found.queries.users.tolist(), found.queries.before, found.relevant, strict=True
        )
    ]


def test_leave_one_out_asks_for_the_last_and_validates_with_the_one_before() -> None:
    found = split(known(TEN), "leave-one-out")
    assert asked(found) == [("ann", ["a", "b", "c", "d"], ["e"]), ("bob", ["p", "q", "c", "r"], ["s"])]
    assert ids(found.known, found.training_events.items) == ["a", "b", "c", "p", "q", "c"]
    validation = split(known(TEN), "leave-one-out", "validation")
    assert asked(validation) == [("ann", ["a", "b", "c"], ["d"]), ("bob", ["p", "q", "c"], ["r"])]
    assert validation.training_events.fingerprint() == found.training_events.fingerprint()
    assert not {"e", "s"} & set(ids(validation.known, validation.known.items)), (
        "the test's are not there at all"
    )


def test_leave_one_out_takes_positive_events_and_lets_others_stand_in_histories() -> None:
    rows = [*liked("ann", "abc"), ("ann", "x", "rate", 10 * HOUR_MS, 1.0), *liked("ann", "d", 11 * HOUR_MS)]
    rows += [("ann", "y", "rate", 12 * HOUR_MS, 2.0)]
    found = split(known(rows), "leave-one-out")
    assert asked(found) == [("ann", ["a", "b", "c", "x"], ["d"])]
    assert ids(found.known, found.training_events.items) == ["a", "b"], (
        "from the validation's target on nothing is learned"
    )


def test_users_too_short_to_split_are_counted_and_learned_from() -> None:
    rows = [*liked("one", "a"), *liked("two", "ab", DAY_MS), *liked("three", "abc", 2 * DAY_MS)]
    found = split(known(rows), "leave-one-out")
    assert [user for user, _, _ in asked(found)] == ["three"]
    assert found.excluded.users_too_short == 2
    assert ids(found.known, found.training_events.items) == ["a", "a", "b", "a"]
    with pytest.raises(NothingToMeasure, match="leave-one-out has no target in 3 events of 2 users"):
        split(known(rows[:3]), "leave-one-out")


def test_a_target_that_was_taken_before_is_counted_and_not_asked() -> None:
    rows = [*liked("ann", "abca"), *liked("bob", "abcd", DAY_MS)]
    found = split(known(rows), "leave-one-out")
    assert [user for user, _, _ in asked(found)] == ["bob"] and found.excluded.targets_consumed_before == 1


def test_what_may_be_taken_again_is_asked_for_again() -> None:
    seen = [("ann", "d", "view", 0, np.nan)]
    found = split(known([*seen, *liked("ann", "abcd", HOUR_MS)]), "leave-one-out")
    assert asked(found)[0][2] == ["d"] and len(found.consumed(0)) == 3


def test_next_item_asks_before_every_later_event_and_histories_grow() -> None:
    rows = [*liked("ann", "abcdefgh"), *liked("bob", "x", 8 * HOUR_MS)]
    rows += [
        *liked("ann", "i", 9 * HOUR_MS),
        *liked("cid", "a", 10 * HOUR_MS),
        *liked("ann", "j", 11 * HOUR_MS),
    ]
    found = split(known([*rows, *liked("eve", "klmnopqrst", -DAY_MS)]), "next-item")
    assert found.training.sum() == int(22 * 0.9) == 19
    assert [(user, len(before), item) for user, before, item in asked(found)] == [
        ("ann", 8, ["i"]), ("cid", 0, ["a"]), ("ann", 9, ["j"]),
    ]  # fmt: skip
    assert found.queries.visible.tolist() == [19, 20, 21], "what came before may be counted"
    validation = split(known([*rows, *liked("eve", "klmnopqrst", -DAY_MS)]), "next-item", "validation")
    assert validation.training.sum() == int(22 * 0.8) and len(validation.known) == 19


def test_future_asks_once_for_all_that_is_still_to_come() -> None:
    rows = [*liked("ann", "abcdefgh"), *liked("bob", "xyzuvwklmn", -DAY_MS)]
    rows += [("ann", "i", "rate", DAY_MS, 1.0), *liked("ann", "j", 2 * DAY_MS)]
    found = split(known(rows), "future")
    assert asked(found) == [("ann", list("abcdefgh"), ["j"])]
    assert found.queries.time_ms.tolist() == [DAY_MS], (
        "asked at the point in time, of the first event after it"
    )
    assert found.queries.visible.tolist() == [18]


def test_targets_that_share_their_moment_are_counted() -> None:
    rows = [*liked("ann", "abc"), *liked("ann", "d", 2 * HOUR_MS)]
    assert split(known(rows), "leave-one-out").excluded.targets_tied == 1
    assert split(known(liked("ann", "abcd")), "leave-one-out").excluded.targets_tied == 0


@pytest.mark.parametrize("protocol", ["next-item", "future"])
def test_one_point_in_time_needs_times(protocol: Protocol) -> None:
    events = known(TEN, timed=False)
    with pytest.raises(TimesMissing, match="take leave-one-out"):
        split(events, protocol)
    with pytest.raises(TimesMissing):
        training_part(events, protocol)
    assert len(split(events, "leave-one-out").queries) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_training_part_is_the_same_for_training_and_for_measuring(protocol: Protocol) -> None:
    events = known(crowd())
    assert (
        training_part(events, protocol).fingerprint() == split(events, protocol).training_events.fingerprint()
    )


def test_a_fingerprint_is_of_the_events_whatever_else_is_named() -> None:
    alone, named = known(TEN[:5]), known(TEN[:5], ["nobody's"])
    assert alone.fingerprint() == named.fingerprint() == known(TEN).take(np.arange(5)).fingerprint()
    assert alone.fingerprint() != known(TEN).fingerprint()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_statistic_touches_what_is_held_out(protocol: Protocol) -> None:
    """Every user's last event is of an item that occurs nowhere else."""
    rows = crowd()
    last = {user: place for place, (user, *_) in enumerate(rows)}
    hidden = [
        (
            user,
            f"secret-{user}" if last[user] == place else item,
            action,
            at,
            5.0 if last[user] == place else value,
        )
        for place, (user, item, action, at, value) in enumerate(rows)
    ]
    found = split(known(hidden), protocol)
    secrets = np.array(
        [
            place
            for place, item in enumerate(found.known.item_ids)
            if item.startswith("secret") and place not in set(found.training_events.items.tolist())
        ]
    )
    wanted = np.concatenate(found.relevant)
    asked_for_secrets = np.isin(wanted, secrets)
    assert asked_for_secrets.any()
    # What each baseline knows of such an item is what it knows of an item that nobody ever touched.
    popular = read_grids().first("popularity")
    for name in ("popularity", "item-knn", "ease"):
        row, _ = fit(name, found, {**read_grids().first(name)}, popular=popular)
        scores = row.scores(found.queries)
        own = scores[np.repeat(np.arange(len(found.queries)), list(map(len, found.relevant))), wanted]
        assert not (own[asked_for_secrets] > 0).any(), name
    row = Popularity(found.known, found.training, None)
    measured = measure(found, row)
    assert by_item_age(found, measured)["cold"].count == asked_for_secrets.sum()
    # To the measures of lists it is as unusual as can be, and like nothing else.
    beyond = Beyond(found)
    seen = found.training_events.items[found.training_events.positive]
    assert beyond.novelty(secrets[None]) > beyond.novelty(np.unique(seen)[None])
    assert beyond.diversity(secrets[None, :2]) == 1.0


def test_all_figures_of_a_row_that_knows_the_answer_are_perfect() -> None:
    found = split(known(crowd()), "future")

    class Oracle:
        name = "oracle"
        given = 0

        def scores(self, queries):  # type: ignore[no-untyped-def]
            scores = np.zeros((len(queries), len(found.known.item_ids)), np.float32)
            for place in range(len(queries)):
                scores[place, found.relevant[self.given + place]] = 1
            self.given += len(queries)
            return scores

    measured: Measured = measure(found, Oracle())
    assert measured.figure("hr@5").min() == measured.figure("ndcg@10").min() == 1
    assert ndcg(found, Oracle()) == 1


def test_no_list_holds_what_its_user_has_taken() -> None:
    found = split(known(crowd()), "leave-one-out")

    class Stubborn:
        """Puts first what was taken."""

        name = "stubborn"

        def scores(self, queries):  # type: ignore[no-untyped-def]
            scores = np.zeros((len(queries), len(found.known.item_ids)), np.float32)
            for place, before in enumerate(queries.before):
                scores[place, found.known.items[before]] = 9
            return scores

    free = [
        len(found.known.item_ids) - len(np.unique(found.consumed(place)))
        for place in range(len(found.queries))
    ]
    expected = np.mean([min(1, 10 / count) for count in free])
    assert measure(found, Stubborn()).figure("hr@10").mean() == pytest.approx(expected)
