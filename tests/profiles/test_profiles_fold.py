"""The fold, by examples."""

import pytest

from profiles.actions import ProfileSettings
from profiles.folding.events import Record, Skip
from profiles.folding.fold import (
    consumed,
    effective,
    fold,
    model_history,
    newest_by_item,
    positives,
    recent,
    refold_start,
)
from profiles.folding.tail import hash64
from tests.profiles.profile_records import DAY_MS, ROOMY, SMALL, T0, erasure, event, impression, rows, run

ACTIONS = ROOMY.actions


def test_a_batch_in_reverse_order_equals_the_same_events_one_by_one() -> None:
    at_once = run(
        [
            event("click", "C", 20, offset=0, event_id="c"),
            event("click", "B", 10, offset=1, event_id="b"),
            event("click", "A", 0, offset=2, event_id="a"),
        ]
    ).profile
    profile = None
    for offset, (item, seconds) in enumerate([("A", 0), ("B", 10), ("C", 20)]):
        one = event("click", item, seconds, offset=offset, event_id=item.lower())
        profile = run([one], profile=profile).profile
    assert profile is not None
    assert [e.item_id for e in at_once.history] == ["A", "B", "C"]
    assert rows(at_once.history) == rows(profile.history)
    assert at_once.totals == profile.totals == {"click": 3}


def test_the_fold_does_not_change_its_argument() -> None:
    before = run([event("view", "A", 0, offset=0)]).profile
    totals, watermarks = dict(before.totals), dict(before.watermarks)
    run([event("view", "B", 1, offset=1), erasure((0, 2), offset=2)], profile=before)
    assert (dict(before.totals), dict(before.watermarks)) == (totals, watermarks)
    assert len(before.history) == 1


def test_another_users_record_is_an_error() -> None:
    with pytest.raises(ValueError, match="'ann'"):
        fold(None, "bob", [event("view", "A", 0, offset=0)], SMALL)


def test_records_without_effect_move_the_watermark_and_are_counted() -> None:
    first = event("view", "A", 0, offset=0, event_id="same")
    folded = run(
        [
            first,
            event("view", "A", 0, offset=4, event_id="same"),
            event("view", "B", -11 * 86_400, offset=5, record_seconds=0),
            Skip("ann", event("x", "x", 0, offset=9).position, T0, "refused"),
        ]
    )
    assert folded.profile.includes(event("view", "B", 0, offset=9).position)
    assert not folded.profile.includes(event("view", "B", 0, offset=10).position)
    assert (folded.repeated, folded.late, folded.count) == (1, 1, 3)
    assert folded.applied == (first,)
    assert folded.profile.totals == {"view": 1}


def test_an_event_exactly_as_old_as_the_time_to_live_still_counts() -> None:
    ten_days = 10 * 86_400
    assert run([event("view", "A", 0, offset=0, record_seconds=ten_days)]).late == 0
    assert run([event("view", "A", 0, offset=0, record_seconds=ten_days + 0.001)]).late == 1


def test_impressions_displace_no_events_and_are_quiet() -> None:
    profile = run([event("click", "A", 0, offset=0)]).profile
    shown = [impression([f"i{n}"], n, offset=n) for n in range(1, 301)]
    folded = run([*shown, impression(["i9"], 500, offset=301)], profile=profile)
    assert folded.quiet
    assert folded.step is None and not folded.model_history_changed
    assert [e.item_id for e in folded.profile.history] == ["A"]
    assert len(folded.profile.impressions) == SMALL.impressions
    assert folded.profile.totals == {"click": 1, "impression": 301}
    assert folded.profile.events == 1
    clicked = run([event("click", "i9", 9.5, offset=302)], profile=folded.profile)
    assert not clicked.quiet
    assert [e.item_id for e in positives(clicked.profile.history, ACTIONS)] == ["A", "i9"]


def test_impressions_are_counted_even_if_none_are_kept() -> None:
    settings = ProfileSettings(impressions=0)
    profile = run([impression("A", n, offset=n) for n in range(3)], settings).profile
    assert profile.impressions == () and profile.totals == {"impression": 3}


def test_the_items_of_an_impression_count_together_and_once() -> None:
    seen = impression("ABC", 0, offset=0, event_id="s")
    again = impression("ABC", 0, offset=1, event_id="s")
    folded = run([seen, again], ROOMY)
    assert folded.applied == (seen,) and folded.repeated == 1
    assert folded.profile.totals == {"impression": 1} and folded.profile.events == 0
    assert [i.item_ids for i in folded.profile.impressions] == [("A", "B", "C")]
    corrected = run([impression("AD", 1, offset=2, event_id="s")], ROOMY, folded.profile)
    assert corrected.repeated == 1 and corrected.profile.totals == {"impression": 1}
    assert [i.item_ids for i in corrected.profile.impressions] == [("A", "D")]


def test_a_profile_holds_the_first_items_of_an_impression() -> None:
    profile = run([impression("ABCDE", 0, offset=0)], SMALL).profile
    assert [i.item_ids for i in profile.impressions] == [("A", "B")]


def test_an_undone_dislike_has_no_effect() -> None:
    likes = [event("like", "A", 0, offset=0), event("like", "B", 1, offset=1)]
    before = run(likes, ROOMY).profile
    disliked = run([event("dislike", "A", 2, offset=2, event_id="d")], ROOMY, before)
    assert newest_by_item(disliked.profile.history)["A"].action == "dislike"
    assert [e.item_id for e in positives(disliked.profile.history, ACTIONS)] == ["B"]
    undone = run([event("undo", "", 3, offset=3, undo="d")], ROOMY, disliked.profile)
    assert undone.model_history_changed and undone.step is None
    assert effective(undone.profile.history) == effective(before.history)
    assert model_history(undone.profile, ROOMY) == model_history(before, ROOMY)
    assert consumed(undone.profile, ACTIONS) == {"A", "B"}
    assert undone.profile.totals == {"like": 2, "dislike": 1, "undo": 1}


def test_an_undo_may_arrive_before_its_event() -> None:
    undo = event("undo", "", 5, offset=0, undo="p")
    bought = event("purchase", "A", 1, offset=1, event_id="p")
    folded = run([undo, bought], ROOMY)
    assert effective(folded.profile.history) == ()
    assert consumed(folded.profile, ACTIONS) == frozenset()
    after = run([bought], ROOMY, run([undo], ROOMY).profile)
    assert not after.model_history_changed


def test_an_undo_can_itself_be_undone() -> None:
    profile = run(
        [
            event("purchase", "A", 0, offset=0, event_id="p"),
            event("undo", "", 1, offset=1, event_id="u1", undo="p"),
            event("undo", "", 2, offset=2, event_id="u2", undo="u1"),
        ],
        ROOMY,
    ).profile
    assert [e.event_id for e in effective(profile.history)] == ["p"]


def test_an_event_without_an_id_is_undone_by_its_position() -> None:
    sent = event("dislike", "A", 0, offset=7, partition=3)
    undo = event("undo", "", 1, offset=8, undo=sent.position.event_id)
    assert effective(run([sent, undo], ROOMY).profile.history) == ()


def test_in_order_events_are_steps_with_a_refold_every_k() -> None:
    profile, steps = None, []
    for n in range(12):
        folded = run([event("view", "A", n, offset=n)], profile=profile)
        profile = folded.profile
        steps.append(folded.step is not None)
    # With N = 4 and K = 3, the boundary moves at the 7th and the 10th event.
    assert steps == [True] * 6 + [False] + [True] * 2 + [False] + [True] * 2
    late = run([event("view", "B", 8.5, offset=20)], profile=profile)
    assert late.model_history_changed and late.step is None


def test_two_new_events_need_a_refold_and_one_among_impressions_a_step() -> None:
    two = run([event("view", "A", 0, offset=0), event("view", "B", 1, offset=1)])
    assert two.step is None and two.model_history_changed
    one = run([impression("A", 0, offset=0), event("view", "B", 1, offset=1)])
    assert one.step is not None and one.step.item_id == "B"


@pytest.mark.parametrize(
    ("events", "start"), [(0, 0), (64, 0), (95, 0), (96, 32), (127, 32), (128, 64), (10_000, 9920)]
)
def test_the_refold_boundary(events: int, start: int) -> None:
    assert refold_start(events, 64, 32) == start


def test_consumed_items_that_leave_the_history_go_to_the_tail_unless_repeatable() -> None:
    log = [event("purchase", "A", 0, offset=0), event("view", "B", 1, offset=1)]
    log += [event("view", "C", n, offset=n) for n in range(2, 9)]
    folded = run(log)
    assert folded.tail_added == ((T0 // 1000, hash64("A")),)
    assert folded.profile.has_tail
    too_late = run([event("like", "Z", -5, offset=50)], profile=folded.profile)
    assert too_late.tail_added == ((T0 // 1000 - 5, hash64("Z")),)
    assert not too_late.quiet and too_late.profile.totals["like"] == 1
    assert "Z" not in consumed(too_late.profile, ACTIONS)


def test_an_action_that_is_no_longer_configured_still_consumes_its_items() -> None:
    profile = run([event("rented", "A", 0, offset=0)], ROOMY).profile
    assert consumed(profile, ACTIONS) == {"A"}
    assert positives(profile.history, ACTIONS) == ()


def test_ratings_are_positive_from_a_value_on() -> None:
    profile = run(
        [event("rate", "A", 0, offset=0, value=3.5), event("rate", "B", 1, offset=1, value=4.0)], ROOMY
    ).profile
    assert [e.item_id for e in positives(profile.history, ACTIONS)] == ["B"]


def test_an_erasure_removes_past_events_but_not_future_ones() -> None:
    before = run([event("like", "A", n, offset=n, event_id=f"{n}") for n in range(12)]).profile
    folded = run([erasure((0, 12), (1, 5), offset=12, seconds=20)], profile=before)
    profile = folded.profile
    assert folded.erased and folded.model_history_changed and not folded.quiet
    assert (profile.history, profile.totals, profile.events) == ((), {}, 0)
    assert profile.states == () and not profile.has_tail
    assert profile.expires_at_ms == T0 + 20_000 + 10 * DAY_MS
    late = run([event("like", "B", 3, offset=4, partition=1)], profile=profile)
    assert late.erased_events == 1 and late.profile.history == ()
    new = run([event("like", "C", 30, offset=5, partition=1)], profile=late.profile)
    assert [e.item_id for e in new.profile.history] == ["C"] and new.profile.totals == {"like": 1}


def test_a_replay_of_everything_after_an_erasure_changes_nothing() -> None:
    log: list[Record] = [event("like", "A", n, offset=n) for n in range(9)]
    log_with_erasure = [*log, erasure((0, 9), offset=9)]
    erased = run(log_with_erasure).profile
    replayed = run(log_with_erasure, profile=erased)
    assert replayed.profile == erased and replayed.count == 0


def test_a_profile_lives_for_the_time_to_live_after_its_newest_event() -> None:
    profile = run([event("view", "A", 100, offset=0), event("view", "B", 50, offset=1)]).profile
    assert profile.expires_at_ms == T0 + 100_000 + 10 * DAY_MS


def test_a_profile_with_only_watermarks_is_kept_briefly() -> None:
    late = event("view", "A", -30 * 86_400, offset=0, record_seconds=0)
    profile = run([late]).profile
    assert profile.history == () and T0 < profile.expires_at_ms <= T0 + DAY_MS


def test_a_history_is_cut_to_smaller_limits_and_grows_only_with_newer_events() -> None:
    log = [event("like", f"i{n}", n, offset=n) for n in range(7)]
    smaller = ProfileSettings(history=2, refold_every=1)
    cut = run([event("view", "x", 7, offset=7)], smaller, run(log).profile)
    assert [e.item_id for e in cut.profile.history] == ["i5", "i6", "x"]
    assert [hash_ for _, hash_ in cut.tail_added] == [hash64(f"i{n}") for n in range(5)]
    # There is room again, but an event older than the history may be one that it has lost.
    grown = run([event("like", "i0", 0, offset=8)], ROOMY, cut.profile)
    assert [e.item_id for e in grown.profile.history] == ["i5", "i6", "x"]
    assert grown.profile.totals == {"like": 8, "view": 1}


def test_recent_counts_halve_with_every_half_life_and_leave_out_undone_events() -> None:
    profile = run(
        [
            event("view", "A", 0, offset=0),
            event("view", "B", 7 * 86_400, offset=1),
            event("like", "C", 0, offset=2, event_id="l"),
            event("undo", "", 1, offset=3, undo="l"),
            impression("DE", 7 * 86_400, offset=4),
        ],
        ROOMY,
    ).profile
    figures = recent(profile, T0 + 7 * DAY_MS, 7)
    assert figures == pytest.approx({"view": 1.5, "impression": 1.0})
    assert recent(profile, T0 + 400 * DAY_MS, 7)["view"] < 1e-10
