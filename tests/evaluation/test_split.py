"""The three protocols: training part, queries, and counts of what is left out."""

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

# Ten hours of `ann` and `bob`. With one point in time for all, the first nine are training.
TEN = [*liked("ann", "abcde"), *liked("bob", "pqcrs", 5 * HOUR_MS)]


def asked(found: Split) -> list[tuple[str, list[str], list[str]]]:
    """User, history and targets of each query."""
    events = found.known
    return [
        (events.user_ids[user], ids(events, events.items[before]), ids(events, relevant))
        for user, before, relevant in zip(
            found.queries.users.tolist(), found.queries.before, found.relevant, strict=True
        )
    ]


def test_leave_one_out_targets_the_last_positive_and_validates_on_the_one_before() -> None:
    found = split(known(TEN), "leave-one-out")
    assert asked(found) == [("ann", ["a", "b", "c", "d"], ["e"]), ("bob", ["p", "q", "c", "r"], ["s"])]
    assert ids(found.known, found.training_events.items) == ["a", "b", "c", "p", "q", "c"]
    validation = split(known(TEN), "leave-one-out", "validation")
    assert asked(validation) == [("ann", ["a", "b", "c"], ["d"]), ("bob", ["p", "q", "c"], ["r"])]
    assert validation.training_events.fingerprint() == found.training_events.fingerprint()
    assert not {"e", "s"} & set(ids(validation.known, validation.known.items)), (
        "the validation does not contain the test's targets"
    )


def test_leave_one_out_targets_are_positive_and_histories_have_all_events() -> None:
    rows = [*liked("ann", "abc"), ("ann", "x", "rate", 10 * HOUR_MS, 1.0), *liked("ann", "d", 11 * HOUR_MS)]
    rows += [("ann", "y", "rate", 12 * HOUR_MS, 2.0)]
    found = split(known(rows), "leave-one-out")
    assert asked(found) == [("ann", ["a", "b", "c", "x"], ["d"])]
    assert ids(found.known, found.training_events.items) == ["a", "b"], (
        "training ends before the validation's target"
    )


def test_users_with_too_few_events_are_counted_and_trained_on() -> None:
    rows = [*liked("one", "a"), *liked("two", "ab", DAY_MS), *liked("three", "abc", 2 * DAY_MS)]
    found = split(known(rows), "leave-one-out")
    assert [user for user, _, _ in asked(found)] == ["three"]
    assert found.excluded.users_too_short == 2
    assert ids(found.known, found.training_events.items) == ["a", "a", "b", "a"]
    with pytest.raises(NothingToMeasure, match="leave-one-out has no target in 3 events of 2 users"):
        split(known(rows[:3]), "leave-one-out")


def test_a_target_that_was_consumed_before_is_counted_and_left_out() -> None:
    rows = [*liked("ann", "abca"), *liked("bob", "abcd", DAY_MS)]
    found = split(known(rows), "leave-one-out")
    assert [user for user, _, _ in asked(found)] == ["bob"] and found.excluded.targets_consumed_before == 1


def test_an_item_with_a_repeatable_action_may_be_a_target_again() -> None:
    seen = [("ann", "d", "view", 0, np.nan)]
    found = split(known([*seen, *liked("ann", "abcd", HOUR_MS)]), "leave-one-out")
    assert asked(found)[0][2] == ["d"] and len(found.consumed(0)) == 3


def test_next_item_has_a_query_for_every_later_positive_and_histories_grow() -> None:
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
    assert found.queries.visible.tolist() == [19, 20, 21], "earlier events may be counted"
    validation = split(known([*rows, *liked("eve", "klmnopqrst", -DAY_MS)]), "next-item", "validation")
    assert validation.training.sum() == int(22 * 0.8) and len(validation.known) == 19


def test_future_has_one_query_for_all_later_positives() -> None:
    rows = [*liked("ann", "abcdefgh"), *liked("bob", "xyzuvwklmn", -DAY_MS)]
    rows += [("ann", "i", "rate", DAY_MS, 1.0), *liked("ann", "j", 2 * DAY_MS)]
    found = split(known(rows), "future")
    assert asked(found) == [("ann", list("abcdefgh"), ["j"])]
    assert found.queries.time_ms.tolist() == [DAY_MS], (
        "the list is made at the time of the first event after training"
    )
    assert found.queries.visible.tolist() == [18]


def test_targets_that_share_their_timestamp_are_counted() -> None:
    rows = [*liked("ann", "abc"), *liked("ann", "d", 2 * HOUR_MS)]
    assert split(known(rows), "leave-one-out").excluded.targets_tied == 1
    assert split(known(liked("ann", "abcd")), "leave-one-out").excluded.targets_tied == 0


@pytest.mark.parametrize("protocol", ["next-item", "future"])
def test_one_point_in_time_needs_times(protocol: Protocol) -> None:
    events = known(TEN, timed=False)
    with pytest.raises(TimesMissing, match="use leave-one-out"):
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


def test_a_fingerprint_depends_on_events_only() -> None:
    alone, named = known(TEN[:5]), known(TEN[:5], ["nobody's"])
    assert alone.fingerprint() == named.fingerprint() == known(TEN).take(np.arange(5)).fingerprint()
    assert alone.fingerprint() != known(TEN).fingerprint()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_statistic_uses_held_out_events(protocol: Protocol) -> None:
    """Each user's last event is about an item that occurs nowhere else."""
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
    # To each baseline, such an item is like an item without any event.
    popular = read_grids().first("popularity")
    for name in ("popularity", "item-knn", "ease"):
        row, _ = fit(name, found, {**read_grids().first(name)}, popular=popular)
        scores = row.scores(found.queries)
        own = scores[np.repeat(np.arange(len(found.queries)), list(map(len, found.relevant))), wanted]
        assert not (own[asked_for_secrets] > 0).any(), name
    row = Popularity(found.known, found.training, None)
    measured = measure(found, row)
    assert by_item_age(found, measured)["cold"].count == asked_for_secrets.sum()
    # To the beyond-accuracy metrics, it is the most novel, and similar to no other item.
    beyond = Beyond(found)
    seen = found.training_events.items[found.training_events.positive]
    assert beyond.novelty(secrets[None]) > beyond.novelty(np.unique(seen)[None])
    assert beyond.diversity(secrets[None, :2]) == 1.0


def test_an_oracle_has_perfect_figures() -> None:
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


def test_no_list_has_consumed_items() -> None:
    found = split(known(crowd()), "leave-one-out")

    class Stubborn:
        """Ranks consumed items first."""

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
