"""The parts of ingest that are arithmetic, or need no server."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.consuming.offsets import from_metadata, to_metadata
from ingest.profiles.rewind_window import RewindWindow
from ingest.statistics.counting import Counts
from profiles.folding.events import Event, Position
from recstream.storage.v1.catalog_pb2 import ItemStats
from tests.ingest.world import T0


@given(st.lists(st.floats(0, 3), min_size=1, max_size=80), st.floats(0, 20))
def test_the_safe_offset_is_before_the_whole_window(gaps: list[float], idle: float) -> None:
    applied, window, now = RewindWindow(10.0), 10.0, 100.0
    applied.start(0, 0, now)
    times = [(now, 0)]
    for n, gap in enumerate(gaps, 1):
        now += gap
        applied.note(0, n, now)
        times.append((now, n))
    safe = applied.start_of(0)
    assert safe is not None
    last = times[-1][0]
    # All offsets that were acknowledged within the window are at or past the safe offset.
    assert all(offset > safe for time, offset in times[1:] if time > last - window) or safe == 0
    # Little more than the window is read again: the step between marks is a sixteenth of it.
    older = [offset for time, offset in times if time <= last - window - window / 16]
    if older:
        first_past = next(offset for time, offset in times if time > last - window - 2 * window / 16 - 3)
        assert safe >= min(first_past - 1, older[-1]) or safe >= 0


def test_an_unknown_partition_has_no_safe_offset() -> None:
    assert RewindWindow(10.0).start_of(3) is None


def test_an_outage_does_not_use_up_the_window() -> None:
    applied = RewindWindow(10.0)
    applied.start(0, 5, 0.0)
    for n in range(20):
        applied.note(0, 6 + n, float(n))
    # No write was acknowledged in the hour since, so the ten seconds before the last acknowledgement still count.
    assert applied.start_of(0) == 15


def test_commit_metadata_is_parsed_and_foreign_text_is_ignored() -> None:
    assert from_metadata(9, to_metadata("abc", 4)).rewind_to == 4
    assert from_metadata(9, to_metadata("abc", 4)).store == "abc"
    for foreign in ("", "x", "abc:", ":4", "abc:x", "abc:²"):
        assert from_metadata(9, foreign).rewind_to is None
    assert from_metadata(9, "abc:12").rewind_to == 9


def event(n: int, item: str, hour: int) -> Event:
    return Event("u", Position(b"t", 0, n), T0, str(n), item, "click", hour * 3_600_000)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3000)), max_size=300),
    st.integers(1, 60),
)
def test_counts_do_not_depend_on_batch_borders(events: list[tuple[str, int]], size: int) -> None:
    all_events = [event(n, item, hour) for n, (item, hour) in enumerate(events)]
    one, many = Counts({}), Counts({})
    one.keep(one.add(all_events, 10))
    for start in range(0, len(all_events), size):
        many.keep(many.add(all_events[start : start + size], 10))
    final = [counts.add([event(0, item, 3100) for item in "abc"], 10).stats for counts in (one, many)]
    assert final[0] == final[1]


def test_counting_changes_nothing_until_it_is_kept() -> None:
    counts = Counts({})
    for _ in range(2):
        assert ItemStats.FromString(counts.add([event(0, "a", 1)], 10).stats["a"]).positives == 1
