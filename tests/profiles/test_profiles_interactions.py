"""Parsing of records on the topic, and the reasons for refusals."""

from dataclasses import replace

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from profiles.actions import ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Record
from profiles.interactions import KIND_HEADER, Reason, Refusal, check, parse
from recstream.storage.v1.profile_pb2 import Erasure as ErasureMessage
from recstream.storage.v1.profile_pb2 import TopicOffset
from recstream.v1.interaction_pb2 import Interaction
from tests.profiles.profile_records import T0, TOPIC

SETTINGS = ProfileSettings()
PLACE = Position(TOPIC, 3, 42)


def interaction(**fields: object) -> Interaction:
    return Interaction(
        **({"user_id": "ann", "item_id": "A", "action": "view", "event_time_ms": T0} | fields)  # type: ignore[arg-type]
    )


def read(
    value: Interaction | bytes | None, headers: list[tuple[str, bytes]] | None = None
) -> Record | Refusal:
    raw = value.SerializeToString() if isinstance(value, Interaction) else value
    return parse(raw, b"any key", headers or [], PLACE, T0, SETTINGS)


def refused(value: Interaction | bytes | None, headers: list[tuple[str, bytes]] | None = None) -> Refusal:
    answer = read(value, headers)
    assert isinstance(answer, Refusal), answer
    assert 0 < len(answer.detail) <= 500
    return answer


def test_protobuf_and_json_are_parsed_alike() -> None:
    sent = interaction(event_id="e", value=2.5, slate_id="s", position=0, experiments={"a": "b"})
    as_json = MessageToJson(sent).encode()
    snake = MessageToJson(sent, preserving_proto_field_name=True).encode()
    assert read(sent) == read(as_json) == read(snake)
    assert read(sent) == Event("ann", PLACE, T0, "e", "A", "view", T0, 2.5, "")


def test_an_event_without_an_id_gets_that_of_its_position() -> None:
    answer = read(interaction())
    assert isinstance(answer, Event)
    assert answer.event_id == f"{TOPIC.hex()}-3-42"


def test_unknown_json_fields_are_ignored() -> None:
    sent = b'{"userId":"ann","itemId":"A","action":"view","eventTimeMs":%d,"page":{"x":[1]}}' % T0
    assert isinstance(read(sent), Event)


@pytest.mark.parametrize(
    ("time", "unit"),
    [(T0 // 1000, "looks like seconds"), (T0 * 1000, "microseconds"), (T0 * 1_000_000, "nanoseconds")],
)
def test_another_unit_of_time_is_recognised_and_named(time: int, unit: str) -> None:
    answer = refused(interaction(event_time_ms=time))
    assert answer.reason is Reason.EVENT_TIME
    assert unit in answer.detail


@pytest.mark.parametrize("time", [0, -1, -62_104_060_800_000, 253_402_300_800_000, 2**63 - 1, -(2**63)])
def test_times_out_of_range_are_refused(time: int) -> None:
    assert refused(interaction(event_time_ms=time)).reason is Reason.EVENT_TIME


def test_skew_is_allowed_up_to_its_limit() -> None:
    assert isinstance(read(interaction(event_time_ms=T0 + 300_000)), Event)
    answer = refused(interaction(event_time_ms=T0 + 300_001))
    assert answer.reason is Reason.EVENT_TIME and "300 s are allowed" in answer.detail


def test_times_older_than_twenty_years_are_valid_if_profiles_live_longer() -> None:
    old = interaction(event_time_ms=T0 - 30 * 31_557_600_000)
    assert check(old, T0, SETTINGS)
    assert not check(old, T0, ProfileSettings(time_to_live_days=40 * 366))


@pytest.mark.parametrize(
    "user_id", ["", " ", "\t\n", "\u2003", "null", "undefined", "NaN", "None", "x" * 257]
)
def test_invalid_user_ids_are_refused(user_id: str) -> None:
    answer = refused(interaction(user_id=user_id))
    assert answer.reason is Reason.USER_ID and answer.user_id == ""


@pytest.mark.parametrize(
    "odd", ["é", "e\u0301", "😀", "\u200fשלום", "a/b", "a:b", "{x}", "a\0b", "%7B", "0", "x" * 256]
)
def test_odd_ids_come_back_byte_for_byte(odd: str) -> None:
    answer = read(interaction(user_id=odd, item_id=odd))
    assert isinstance(answer, Event)
    assert answer.user_id == answer.item_id == odd


@pytest.mark.parametrize("odd", ["é" * 129, "x" * 10_240, " ", ""])
def test_item_ids_are_bounded_and_not_blank(odd: str) -> None:
    assert refused(interaction(item_id=odd)).reason is Reason.ITEM_ID


@pytest.mark.parametrize("event_id", ["x" * 129, " ", "undefined"])
def test_event_ids_that_would_merge_many_events_are_refused(event_id: str) -> None:
    answer = refused(interaction(event_id=event_id))
    assert answer.reason is Reason.EVENT_ID and answer.user_id == "ann"


def test_invalid_utf8_is_refused() -> None:
    raw = interaction(item_id="aa").SerializeToString().replace(b"aa", b"\xae\xff")
    assert refused(raw).reason is Reason.NOT_PROTOBUF


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, Reason.NO_VALUE),
        (b"", Reason.USER_ID),
        (b"\xff\xff\xff", Reason.NOT_PROTOBUF),
        (b"{", Reason.NOT_JSON),
        (b"{]", Reason.NOT_JSON),
        (b'{"a":' + b"[" * 100_000, Reason.NOT_JSON),
        (b'{"userId":"\\ud800"}', Reason.NOT_JSON),
        (b'{"userId":{"$gt":""}}', Reason.NOT_JSON),
        (b'{"eventTimeMs":1e400}', Reason.NOT_JSON),
        (b'{"eventTimeMs":' + b"9" * 5000 + b"}", Reason.NOT_JSON),
        (b'{"userId":"a","userId":"b"}', Reason.NOT_JSON),
        (b'{"userId":"\xff"}', Reason.NOT_JSON),
    ],
)
def test_an_unreadable_record_is_refused_with_its_reason(raw: bytes | None, reason: Reason) -> None:
    assert refused(raw).reason is reason


def test_an_unknown_action_is_refused_with_the_known_ones() -> None:
    answer = refused(interaction(action="watch"))
    assert answer.reason is Reason.ACTION
    assert "'watch'" in answer.detail and "purchase" in answer.detail


@pytest.mark.parametrize(
    ("action", "value"),
    [("view", float("nan")), ("view", float("inf")), ("rate", 0.0), ("rate", 6.0), ("rate", -1e308)],
)
def test_values_outside_their_scale_are_refused(action: str, value: float) -> None:
    assert refused(interaction(action=action, value=value)).reason is Reason.VALUE


def test_a_missing_value_is_none_and_zero_is_a_value() -> None:
    nothing, zero = read(interaction()), read(interaction(value=0.0))
    assert isinstance(nothing, Event) and nothing.value is None
    assert isinstance(zero, Event) and zero.value == 0.0


def test_an_undo_names_an_event_and_needs_no_item() -> None:
    answer = read(interaction(action="undo", item_id="", undo_event_id="e"))
    assert isinstance(answer, Event) and answer.undo_event_id == "e"
    assert refused(interaction(action="undo", item_id="")).reason is Reason.UNDO
    assert refused(interaction(undo_event_id="e")).reason is Reason.UNDO


def test_all_problems_are_named_by_field() -> None:
    problems = dict(check(Interaction(position=-1, surface="s" * 300), T0, SETTINGS))
    assert set(problems) == {"user_id", "item_id", "action", "event_time_ms", "position", "surface"}


def test_an_erasure_is_recognised_by_its_header() -> None:
    ends = [TopicOffset(topic_id=TOPIC, partition=p, offset=10 + p) for p in range(2)]
    raw = ErasureMessage(user_id="null", end_offsets=ends).SerializeToString()
    answer = read(raw, [("other", b"x"), (KIND_HEADER, b"erasure")])
    assert answer == Erasure("null", PLACE, T0, (Position(TOPIC, 0, 10), Position(TOPIC, 1, 11)))


def test_an_invalid_erasure_is_refused() -> None:
    header = [(KIND_HEADER, b"erasure")]
    short = ErasureMessage(user_id="ann", end_offsets=[TopicOffset(topic_id=b"x", offset=1)])
    for raw in (b"\xff", b"", short.SerializeToString()):
        assert refused(raw, header).reason is Reason.ERASURE
    assert refused(b"", [(KIND_HEADER, b"rename")]).reason is Reason.UNKNOWN_KIND


def test_a_record_without_a_timestamp_is_refused() -> None:
    raw = interaction().SerializeToString()
    answer = parse(raw, None, [], PLACE, -1, SETTINGS)
    assert isinstance(answer, Refusal) and answer.reason is Reason.NO_TIMESTAMP


def test_headers_without_a_value_are_no_headers() -> None:
    """Vert.x 313, MassTransit 3871: a header may have no value, and consumers failed at it."""
    assert isinstance(read(interaction(), [(KIND_HEADER, None), ("traceparent", None)]), Event)  # type: ignore[list-item]


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"{" + tail))
def test_no_bytes_make_the_parser_raise(raw: bytes) -> None:
    assert isinstance(read(raw), Refusal | Event)
    assert isinstance(read(raw, [(KIND_HEADER, b"erasure")]), Refusal | Erasure)


@given(st.text(max_size=100), st.text(max_size=100), st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))
def test_an_accepted_event_has_the_fields_that_were_sent(
    user_id: str, item_id: str, action: str, time: int
) -> None:
    answer = read(interaction(user_id=user_id, item_id=item_id, action=action, event_time_ms=time))
    if isinstance(answer, Event):
        assert replace(answer, event_id="") == Event(user_id, PLACE, T0, "", item_id, action, time)
