"""The fold compared with a naive oracle, for any batching, order and redelivery."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from profiles.folding.events import Event, Record
from profiles.folding.fold import effective, fold, model_history
from profiles.folding.tail import Tail, hash64
from profiles.store.codec import encode
from tests.profiles.oracle import expected, holding, model_rows
from tests.profiles.profile_records import (
    ROOMY,
    SMALL,
    contents,
    in_batches,
    interleaved,
    logs,
    placed,
    rows,
    run,
    shown,
)

sizes = st.lists(st.integers(1, 6))
orders = st.lists(st.integers(0, 2), max_size=30)


@given(logs())
def test_a_fold_equals_sorting_and_counting_everything(records: list[Record]) -> None:
    profile, want = run(records).profile, expected(records, SMALL)
    assert rows(profile.history) == want.history
    assert shown(profile.impressions) == want.impressions
    assert dict(profile.totals) == want.totals
    assert profile.events == want.events
    assert dict(profile.watermarks) == want.watermarks
    assert rows(effective(profile.history)) == holding(want.history)


@given(logs(repeats=True), orders)
def test_repeats_count_once_in_any_interleaving(records: list[Record], order: list[int]) -> None:
    want = expected(records, ROOMY)
    for log in (records, interleaved(records, order)):
        profile = run(log, ROOMY).profile
        assert rows(profile.history) == want.history
        assert shown(profile.impressions) == want.impressions
        assert dict(profile.totals) == want.totals
        assert profile.events == want.events
        assert dict(profile.watermarks) == want.watermarks


@given(logs(erasures=True), orders)
def test_erasures_give_the_same_bytes_in_any_interleaving(records: list[Record], order: list[int]) -> None:
    want = expected(records, ROOMY)
    one, other = run(records, ROOMY).profile, run(interleaved(records, order), ROOMY).profile
    assert rows(one.history) == want.history
    assert shown(one.impressions) == want.impressions
    assert dict(one.totals) == want.totals
    assert one.events == want.events
    assert encode(one) == encode(other)


@given(logs(repeats=True, erasures=True), sizes)
def test_any_batching_gives_the_same_bytes(records: list[Record], cuts: list[int]) -> None:
    whole = run(records)
    profile, parts = in_batches(records, cuts, SMALL)
    if profile is not None:
        assert encode(profile) == encode(whole.profile)
    tails = Tail(), Tail()
    for tail, folds in zip(tails, ([whole], parts), strict=True):
        for folded in folds:
            tail = Tail() if folded.erased else tail
            tail = tail.add(folded.tail_added, SMALL.tail)
    assert tails[0] == tails[1]


@given(logs(repeats=True, erasures=True), st.data())
def test_any_redelivery_changes_nothing(records: list[Record], data: st.DataObject) -> None:
    once = run(records).profile
    profile = None
    read = 0
    for _ in range(4):  # A consumer that goes back several times before it reaches the end.
        start = data.draw(st.integers(0, read))
        read = data.draw(st.integers(read, len(records)))
        profile = run(records[start:read], profile=profile).profile
    folded = run(records[data.draw(st.integers(0, read)) :], profile=profile)
    assert encode(folded.profile) == encode(once)
    again = run(records, profile=folded.profile)
    assert again.count == 0 and again.dropped == len(records) and again.quiet
    assert encode(again.profile) == encode(once)


@given(logs(), orders)
def test_any_interleaving_gives_the_same_profile(records: list[Record], order: list[int]) -> None:
    one, other = run(records).profile, run(interleaved(records, order)).profile
    # An undo keeps an event out of the tail only if it comes before the event has left the history.
    assert encode(replace(one, has_tail=False)) == encode(replace(other, has_tail=False))


@given(contents(repeats=False), st.randoms(use_true_random=False))
def test_any_order_of_events_gives_the_same_history_and_totals(events, random) -> None:  # type: ignore[no-untyped-def]
    one = run(placed(events, [0] * len(events))).profile
    random.shuffle(events)
    other = run(placed(events, [0] * len(events))).profile
    assert rows(one.history) == rows(other.history)
    assert shown(one.impressions) == shown(other.impressions)
    assert dict(one.totals) == dict(other.totals)


@given(contents(repeats=True), st.randoms(use_true_random=False))
def test_differing_repeats_give_the_same_history_in_any_order(events, random) -> None:  # type: ignore[no-untyped-def]
    # The later repeat by (time, position) is kept. Shuffled logs have other positions, so times must decide.
    events = [replace(e, time_ms=e.time_ms + i) for i, e in enumerate(events)]
    one = run(placed(events, [0] * len(events)), ROOMY).profile
    random.shuffle(events)
    other = run(placed(events, [0] * len(events)), ROOMY).profile
    assert rows(one.history) == rows(other.history)
    assert shown(one.impressions) == shown(other.impressions)
    assert dict(one.totals) == dict(other.totals)


@given(logs(repeats=True, erasures=True), sizes)
def test_steps_where_allowed_equal_refolds(records: list[Record], cuts: list[int]) -> None:
    state: list[object] = []  # Models a state by the events that it covers.
    profile = None
    rest = list(records)
    for size in [*cuts, *[1] * len(records)]:
        batch, rest = rest[:size], rest[size:]
        folded = fold(profile, "ann", batch, SMALL)
        profile = folded.profile
        seen = rows(model_history(profile, SMALL))
        if folded.step is not None:
            e = folded.step
            state = [*state, (e.time_ms, e.event_id, e.item_id, e.action, e.value, e.undo_event_id)]
        elif folded.model_history_changed:
            state = list(seen)
        assert state == seen
        assert seen == model_rows(profile.events, rows(profile.history), SMALL)


@given(logs())
def test_consumed_items_that_leave_the_history_go_to_the_tail(records: list[Record]) -> None:
    records = [r for r in records if not isinstance(r, Event) or r.action != "undo"]
    folded = run(records)
    want = expected(records, SMALL)
    kept = {row[1] for row in want.history}
    ttl = SMALL.time_to_live_days * 86_400_000
    left = {
        (r.time_ms // 1000, hash64(r.item_id))
        for r in records
        if isinstance(r, Event)
        and r.action in ("like", "dislike")
        and r.event_id not in kept
        and r.time_ms >= r.record_time_ms - ttl
    }
    assert set(folded.tail_added) == left
    assert folded.profile.has_tail == bool(left)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 8))), st.integers(0, 6), st.randoms())
def test_a_tail_is_the_newest_part_of_a_set(entries, bound, random) -> None:  # type: ignore[no-untyped-def]
    newest: dict[int, int] = {}
    for second, item in entries:
        newest[item] = max(second, newest.get(item, 0))
    want = sorted(((second, item) for item, second in newest.items()), reverse=True)[:bound]
    once = Tail().add(entries, bound)
    assert once.records() == want
    random.shuffle(entries)
    assert Tail().add(entries, bound) == once
    assert once.add(entries, bound) == once
    one_by_one = Tail()
    for entry in entries:
        one_by_one = one_by_one.add([entry], bound)
    assert one_by_one == once
