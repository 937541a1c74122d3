"""Parsing of records on the topic, and the reasons for refusals."""

from dataclasses import replace

import pytest
from google.protobuf.json_format import MessageToJson
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from profiles.actions import Action, Actions, ProfileSettings
from profiles.folding.events import Erasure, Event, Position, Record, Skip
from profiles.folding.events import SlateImpression as Impression
from profiles.interactions import KIND_HEADER, LATER_KIND, UNKNOWN_ACTION, Reason, Refusal, check, parse
from profiles.record_check import RecordCheck
from profiles.times import milliseconds, timestamp
from recstream.storage.v1.profile_pb2 import Erasure as ErasureMessage
from recstream.storage.v1.profile_pb2 import TopicOffset
from recstream.v1.interaction_pb2 import Interaction, SlateImpression, Undo
from tests.profiles.profile_records import T0, TOPIC

SETTINGS = ProfileSettings()
PLACE = Position(TOPIC, 3, 42)


def interaction(**fields: object) -> Interaction:
    known = {"user_id": "ann", "item_id": "A", "action": "view", "event_time": timestamp(T0)}
    return Interaction(**(known | fields))  # type: ignore[arg-type]


def kind(**fields: object) -> Interaction:
    """An event that is no action on an item."""
    return interaction(**({"item_id": "", "action": ""} | fields))


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
    sent = b'{"userId":"ann","itemId":"A","action":"view","eventTime":%d,"page":{"x":[1]}}' % T0
    assert isinstance(read(sent), Event)


def test_seconds_instead_of_milliseconds_are_recognised_and_named() -> None:
    answer = refused(interaction(event_time=timestamp(T0 // 1000)))
    assert answer.reason is Reason.EVENT_TIME
    assert "looks like seconds" in answer.detail


@pytest.mark.parametrize(
    "time",
    [
        Timestamp(),
        Timestamp(seconds=-1),
        Timestamp(seconds=-62_135_596_800),
        Timestamp(seconds=-62_135_596_801),
        Timestamp(seconds=253_402_300_800),
        Timestamp(seconds=2**63 - 1),
        Timestamp(seconds=-(2**63)),
        Timestamp(seconds=T0 // 1000, nanos=-1),
        Timestamp(seconds=T0 // 1000, nanos=10**9),
    ],
)
def test_times_out_of_range_are_refused(time: Timestamp) -> None:
    assert refused(interaction(event_time=time)).reason is Reason.EVENT_TIME


def test_an_event_without_a_time_has_that_of_its_record() -> None:
    untimed = interaction()
    untimed.ClearField("event_time")
    assert read(untimed) == Event("ann", PLACE, T0, PLACE.event_id, "A", "view", T0)


@pytest.mark.parametrize("ahead_ms", [300_001, 86_400_000, 253_402_300_799_999 - T0])
def test_a_clock_that_is_too_far_ahead_is_replaced_by_the_time_of_the_record(ahead_ms: int) -> None:
    found = RecordCheck(SETTINGS)
    for ahead in (0, 300_000, ahead_ms):
        found.add(interaction(event_time=timestamp(T0 + ahead)).SerializeToString(), (), T0, "here")
    assert found.actions == {"view": 3} and found.clocks_ahead == 1
    tolerated, clamped = (read(interaction(event_time=timestamp(T0 + n))) for n in (300_000, ahead_ms))
    assert isinstance(tolerated, Event) and tolerated.time_ms == T0 + 300_000
    assert isinstance(clamped, Event) and clamped.time_ms == T0


def test_times_older_than_twenty_years_are_valid_if_profiles_live_longer() -> None:
    old = interaction(event_time=timestamp(T0 - 30 * 31_557_600_000))
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
        (b'{"eventTime":1e400}', Reason.NOT_JSON),
        (b'{"eventTime":' + b"9" * 5000 + b"}", Reason.NOT_JSON),
        (b'{"userId":"a","userId":"b"}', Reason.NOT_JSON),
        (b'{"userId":"\xff"}', Reason.NOT_JSON),
    ],
)
def test_an_unreadable_record_is_refused_with_its_reason(raw: bytes | None, reason: Reason) -> None:
    assert refused(raw).reason is reason


@pytest.mark.parametrize(
    "event",
    [
        interaction(action="watch"),
        interaction(action="watch", value=float("nan"), price=-1),
        Interaction(user_id="ann", action="searched"),
        b'{"userId":"ann","action":" ","itemId":"A"}',
    ],
)
def test_an_event_of_an_unknown_action_only_moves_its_users_watermark(event: Interaction | bytes) -> None:
    assert read(event) == Skip("ann", PLACE, T0, UNKNOWN_ACTION)
    found = RecordCheck(SETTINGS)
    found.add(event if isinstance(event, bytes) else event.SerializeToString(), (), T0, "here")
    assert (found.records, found.counting_nothing, found.refused) == (1, 1, {})
    assert sum(found.unknown_actions.values()) == 1


def test_an_unknown_action_is_named_with_the_known_ones_where_its_sender_listens() -> None:
    """A server checks by these rules, and its caller is there to be told."""
    problems = dict(check(interaction(action="watch"), T0, SETTINGS))
    assert "'watch'" in problems["action"] and "purchase" in problems["action"]


@pytest.mark.parametrize("user_id", ["", "null", "x" * 257])
def test_an_unknown_action_without_a_certain_user_is_refused(user_id: str) -> None:
    assert refused(interaction(user_id=user_id, action="watch")).reason is Reason.USER_ID


def test_an_unknown_action_beside_a_kind_is_a_mistake() -> None:
    assert refused(kind(undo=Undo(event_id="e"), action="watch")).reason is Reason.ACTION


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


def test_an_undo_names_an_event_and_no_item() -> None:
    answer = read(kind(undo=Undo(event_id="e")))
    assert answer == Event("ann", PLACE, T0, PLACE.event_id, "", "undo", T0, None, "e")
    assert refused(kind(undo=Undo())).reason is Reason.UNDO
    assert refused(kind(undo=Undo(event_id=" "))).reason is Reason.UNDO
    with_action = refused(interaction(undo=Undo(event_id="e")))
    assert "item_id is for an action on an item; leave it empty beside `undo`" in with_action.detail


def test_an_impression_names_the_items_that_were_seen() -> None:
    answer = read(kind(impression=SlateImpression(item_ids=["b", "a"], first_position=20), slate_id="s"))
    assert answer == Impression("ann", PLACE, T0, PLACE.event_id, ("b", "a"), T0)


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (SlateImpression(), "impression.item_ids has 0 items; 1 to 500 are allowed: name the items"),
        (SlateImpression(item_ids=map(str, range(501))), "501 items; 1 to 500 are allowed: send several"),
        (SlateImpression(item_ids=["a", "b", "a"]), "impression.item_ids[2] names 'a' again"),
        (SlateImpression(item_ids=["a", " "]), "impression.item_ids[1] is blank"),
        (SlateImpression(item_ids=["a" * 257]), "impression.item_ids[0] is longer than 256 bytes"),
        (SlateImpression(item_ids=["a"], first_position=-1), "impression.first_position -1 is outside 0"),
        (SlateImpression(item_ids=["a"], first_position=2**31 - 1), "impression.first_position 2147483647"),
    ],
)
def test_an_invalid_impression_is_refused_with_a_remedy(shown: SlateImpression, says: str) -> None:
    answer = refused(kind(impression=shown))
    assert answer.reason is Reason.IMPRESSION and says in answer.detail


def test_an_impression_takes_no_action_no_value_and_no_position_of_its_own() -> None:
    shown = SlateImpression(item_ids=["a"])
    problems = dict(check(interaction(impression=shown, value=1, position=0), T0, SETTINGS))
    assert set(problems) == {"item_id", "action", "value", "position"}


@pytest.mark.parametrize("action", ["undo", "impression"])
def test_kinds_are_no_actions(action: str) -> None:
    answer = refused(interaction(action=action))
    assert answer.reason is Reason.ACTION and f"set the field `{action}` instead" in answer.detail
    with pytest.raises(ValueError, match=action):
        Actions({action: Action()})


def test_what_nothing_is_computed_from_is_checked_and_passed_on() -> None:
    order = interaction(
        session_id="s",
        order_id="o",
        quantity=2,
        price=9.5,
        currency="EUR",
        context={"device": "phone"},
    )
    assert read(order) == read(interaction())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"session_id": "s" * 257}, "session_id"),
        ({"order_id": "o" * 257}, "order_id"),
        ({"quantity": 0.0}, "quantity"),
        ({"quantity": float("nan")}, "quantity"),
        ({"quantity": 1e13}, "quantity"),
        ({"price": -0.01, "currency": "EUR"}, "price"),
        ({"price": float("inf"), "currency": "EUR"}, "price"),
        ({"price": 1.0}, "currency"),
        ({"currency": "EUR"}, "price"),
        ({"price": 1.0, "currency": "eur"}, "currency"),
        ({"price": 1.0, "currency": "EURO"}, "currency"),
        ({"price": 1.0, "currency": "ÉUR"}, "currency"),
        ({"context": {str(n): "x" for n in range(33)}}, "context"),
        ({"context": {" ": "x"}}, "context"),
        ({"context": {"k": "x" * 257}}, "context"),
        ({"experiments": {"": "x"}}, "experiments"),
        ({"position": 1_000_001}, "position"),
    ],
)
def test_each_field_has_bounds_and_is_named(fields: dict[str, object], field: str) -> None:
    answer = refused(interaction(**fields))
    assert answer.reason is Reason.CONTEXT and answer.user_id == "ann"
    assert answer.detail.startswith(f"{field} ")


@pytest.mark.parametrize(
    "later",
    [
        kind().SerializeToString() + b"\xfa\x01\x04\x0a\x02id",
        b'{"userId":"ann","eventTime":%d,"merge":{"from":"bob"}}' % T0,
        b'{"specversion":"1.0","data":{"userId":"ann","merge":{"from":"bob"}}}',
    ],
)
def test_an_event_of_a_later_kind_only_moves_its_users_watermark(later: bytes) -> None:
    assert read(later) == Skip("ann", PLACE, T0, LATER_KIND)
    found = RecordCheck(SETTINGS)
    found.add(later, (), T0, "here")
    assert (found.records, found.passed_over, found.refused) == (1, 1, {})


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"userId":"ann","rating":5}',
        b'{"userId":"ann","itemId":"A","merge":{"from":"bob"}}',
        b'{"merge":{"from":"bob"}}',
        b'{"userId":"null","merge":{"from":"bob"}}',
        kind().SerializeToString() + b"\xf8\x01\x04",
        kind().SerializeToString(),
    ],
)
def test_what_no_later_kind_explains_is_refused(wrong: bytes) -> None:
    refused(wrong)


def test_all_problems_are_named_by_field() -> None:
    problems = dict(check(Interaction(position=-1, surface="s" * 300), T0, SETTINGS))
    assert set(problems) == {"user_id", "item_id", "action", "position", "surface"}


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
    assert refused(b"", [(KIND_HEADER, b"rename")]).reason is Reason.KIND_HEADER


def test_a_record_without_a_timestamp_is_refused() -> None:
    raw = interaction().SerializeToString()
    for no_time in (-1, 253_402_300_800_000, 2**63 - 1):
        answer = parse(raw, None, [], PLACE, no_time, SETTINGS)
        assert isinstance(answer, Refusal) and answer.reason is Reason.NO_TIMESTAMP


def test_headers_without_a_value_are_no_headers() -> None:
    """Vert.x 313, MassTransit 3871: a header may have no value, and consumers failed at it."""
    assert isinstance(read(interaction(), [(KIND_HEADER, None), ("traceparent", None)]), Event)  # type: ignore[list-item]


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"{" + tail))
def test_no_bytes_make_the_parser_raise(raw: bytes) -> None:
    assert isinstance(read(raw), Refusal | Event | Impression | Skip)
    assert isinstance(read(raw, [(KIND_HEADER, b"erasure")]), Refusal | Erasure)


@given(st.text(max_size=100), st.text(max_size=100), st.text(max_size=20), st.integers(0, T0 + 300_000))
def test_an_accepted_event_has_the_fields_that_were_sent(
    user_id: str, item_id: str, action: str, time: int
) -> None:
    answer = read(interaction(user_id=user_id, item_id=item_id, action=action, event_time=timestamp(time)))
    if isinstance(answer, Event):
        assert replace(answer, event_id="") == Event(user_id, PLACE, T0, "", item_id, action, time)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_a_time_comes_back_from_its_message(time_ms: int) -> None:
    assert milliseconds(timestamp(time_ms)) == time_ms


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_time_that_no_message_can_hold_is_the_nearest_one(time_ms: int) -> None:
    assert -62_135_596_800_000 <= milliseconds(timestamp(time_ms)) <= 253_402_300_799_999
