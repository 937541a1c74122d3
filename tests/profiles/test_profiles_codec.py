"""The stored form: decoding reverses encoding, and equal profiles have equal bytes."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.announcements.announcement import attachment_header, decode_announcement, encode_announcement
from profiles.errors import ProfileCorrupt
from profiles.folding.events import Event, Position, Record, SlateImpression
from profiles.profile import ModelState, Profile, Stored
from profiles.store.codec import decode, decode_revision, encode, encode_revision
from recstream.storage.v1 import profile_pb2
from tests.profiles.profile_records import (
    OTHER_TOPIC,
    ROOMY,
    SMALL,
    TOPIC,
    erasure,
    event,
    impression,
    logs,
    run,
)

states = st.lists(
    st.builds(
        ModelState, st.integers(1, 2**40), st.binary(max_size=64), st.binary(max_size=16), st.booleans()
    ),
    max_size=2,
    unique_by=lambda state: state.model_version,
).map(lambda each: tuple(sorted(each, key=lambda state: state.model_version)))


@given(logs(repeats=True, erasures=True), states, st.integers(0, 2**62), st.booleans())
def test_decoding_reverses_encoding(
    records: list[Record], kept: tuple[ModelState, ...], revision: int, other_topic: bool
) -> None:
    if other_topic:
        records = [*records, event("like", "é{x}\0😀", 1, offset=3, topic=OTHER_TOPIC, value=-0.0)]
    profile = replace(run(records).profile, states=kept)
    value = encode_revision(revision) + encode(profile)
    assert decode(value) == Stored(revision, profile)
    assert decode_revision(value[:8]) == revision


@given(logs(), st.randoms())
def test_equal_profiles_have_equal_bytes_for_any_order_of_their_mappings(records, random) -> None:  # type: ignore[no-untyped-def]
    profile = run(records).profile
    totals, watermarks = list(profile.totals.items()), list(profile.watermarks.items())
    random.shuffle(totals)
    random.shuffle(watermarks)
    shuffled = replace(profile, totals=dict(totals), watermarks=dict(watermarks))
    assert encode(shuffled) == encode(profile)


def test_an_event_id_that_is_its_position_is_not_stored() -> None:
    with_place = run([event("view", "A", 0, offset=123_456)]).profile
    with_id = run([event("view", "A", 0, offset=123_456, event_id="x" * 49)]).profile
    assert len(encode(with_id)) - len(encode(with_place)) == 49
    assert decode(bytes(8) + encode(with_place)).profile == with_place


def test_an_event_id_that_is_another_position_is_stored() -> None:
    elsewhere = Position(TOPIC, 1, 5).event_id
    profile = run([event("view", "A", 0, offset=5, event_id=elsewhere)]).profile
    assert decode(bytes(8) + encode(profile)).profile.history[0].event_id == elsewhere


def test_an_empty_profile_is_encoded_and_decoded() -> None:
    assert decode(encode_revision(1) + encode(Profile("ann"))) == Stored(1, Profile("ann"))


@pytest.mark.parametrize("value", [b"", b"short", bytes(8) + b"\xff\xff\xff", bytes(8) + b"\x0a\x02\xae\xff"])
def test_bytes_that_are_not_a_profile_are_corrupt(value: bytes) -> None:
    with pytest.raises(ProfileCorrupt):
        decode(value)


@given(st.data())
def test_a_damaged_profile_is_decoded_or_corrupt(data: st.DataObject) -> None:
    log: list[Record] = [event("like", "A", n, offset=n, value=1.0) for n in range(9)]
    log += [impression("AB", n, offset=n) for n in range(20, 22)]
    value = bytearray(encode_revision(1) + encode(run([*log, erasure((0, 3), offset=29)]).profile))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(8, len(value) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProfileCorrupt):
        decode(bytes(value))


def test_an_announcement_without_a_trace_is_encoded_as_before() -> None:
    before = profile_pb2.Announcement(base_revision=7, revision=8).SerializeToString()
    assert encode_announcement(7, 8, quiet=False, applied=()) == before
    assert decode_announcement("ann", before).traceparent == ""
    traced = encode_announcement(7, 8, quiet=False, applied=(), traceparent="00-ab-cd-01")
    heard = decode_announcement("ann", traced + attachment_header(b"value") + b"value")
    assert heard.traceparent == "00-ab-cd-01" and heard.attached is not None


def test_an_announcement_has_the_newest_events_but_no_impressions() -> None:
    applied: list[Event | SlateImpression] = [event("view", f"i{n}", n, offset=n) for n in range(40)]
    applied.append(impression(["shown"], 99, offset=99))
    payload = encode_announcement(7, 8, quiet=False, applied=applied)
    heard = decode_announcement("ann", payload)
    assert (heard.user_id, heard.base_revision, heard.revision, heard.quiet) == ("ann", 7, 8, False)
    assert [each.item_id for each in heard.applied] == [f"i{n}" for n in range(8, 40)]
    assert heard.applied[-1].position == applied[39].position
    assert heard.applied[-1].record_time_ms == applied[39].record_time_ms


def test_impressions_are_decoded_with_their_items() -> None:
    log = [impression("ABC", 0, offset=0, event_id="s"), impression("D", 1, offset=1)]
    profile = run([*log, event("view", "E", 2, offset=2)], ROOMY).profile
    assert decode(bytes(8) + encode(profile)).profile == profile


@given(st.integers(0, 2**16), st.booleans())
def test_an_announcement_and_its_attached_value_are_one_message(size: int, quiet: bool) -> None:
    stored = Stored(8, Profile("ann", totals={"x" * size: 1}))
    value = encode_revision(8) + encode(stored.profile)
    payload = encode_announcement(7, 8, quiet=quiet, applied=())
    heard = decode_announcement(
        "ann", payload + attachment_header(value) + value if attachment_header(value) else payload
    )
    assert (heard.base_revision, heard.revision, heard.quiet) == (7, 8, quiet)
    assert heard.stored == (stored if len(value) <= 65_536 else None)


@pytest.mark.parametrize(
    "value",
    [
        b"short",
        encode_revision(8) + b"\xff\xff\xff",
        encode_revision(8) + encode(Profile("bob")),
        encode_revision(9) + encode(Profile("ann")),
    ],
)
def test_an_attached_value_that_is_damaged_or_of_another_profile_is_ignored(value: bytes) -> None:
    payload = encode_announcement(7, 8, quiet=False, applied=()) + attachment_header(value) + value
    heard = decode_announcement("ann", payload)
    assert heard.revision == 8 and heard.stored is None and heard.stored is None


def test_a_full_profile_stays_small() -> None:
    log: list[Record] = [event("like", f"item-{n}", n, offset=n, event_id=f"e{n}") for n in range(2000)]
    assert len(encode(run(log, SMALL).profile)) < 500
