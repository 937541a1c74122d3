"""An event is the same in each wire form, and whatever else a record holds is refused with its reason."""

import base64
import gzip
import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict, MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from profiles.actions import ProfileSettings
from profiles.folding.events import Event, Position, Record, Skip
from profiles.interactions import Reason, Refusal, parse
from profiles.times import EARLIEST_MS, LATEST_MS, milliseconds, timestamp
from profiles.wire import Decoded, NotCloudEvent, NotJson, NotProtobuf, decode
from recstream.v1.interaction_pb2 import Interaction, SlateImpression, Undo
from tests.profiles.profile_records import T0, TOPIC

Form = tuple[bytes, list[tuple[str, bytes]]]
"""The value and the headers of a record."""
FRAME = b"\x00\x00\x00\x00\x07"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=130)
PLACE = Position(TOPIC, 3, 42)

times = st.integers(EARLIEST_MS, LATEST_MS).map(timestamp)
common = {
    "event_id": TEXTS,
    "user_id": TEXTS,
    "event_time": st.none() | times,
    "slate_id": TEXTS,
    "experiments": st.dictionaries(TEXTS, TEXTS, max_size=2),
    "session_id": TEXTS,
    "context": st.dictionaries(TEXTS, TEXTS, max_size=2),
}
sent = (
    st.builds(
        Interaction,
        item_id=TEXTS,
        action=st.sampled_from(["view", "rate", "undo", "impression", "devour"]),
        value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        position=st.none() | st.integers(0, 500),
        order_id=TEXTS,
        quantity=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        price=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        currency=TEXTS,
        **common,
    )
    | st.builds(Interaction, undo=st.builds(Undo, event_id=TEXTS), **common)
    | st.builds(
        Interaction,
        impression=st.builds(
            SlateImpression, item_ids=st.lists(TEXTS, max_size=3), first_position=st.integers(0, 500)
        ),
        **common,
    )
)


def as_json(event: Interaction) -> bytes:
    return MessageToJson(event).encode()


def structured(event: Interaction) -> bytes:
    envelope = {"specversion": "1.0", "id": "other", "source": "/shop", "type": "action"}
    return json.dumps({**envelope, "data": MessageToDict(event)}).encode()


def encoded(event: Interaction) -> bytes:
    data = base64.b64encode(event.SerializeToString()).decode()
    return json.dumps({"specversion": "1.0", "id": "other", "data_base64": data}).encode()


def connected(event: Interaction) -> bytes:
    schema = {"type": "struct", "fields": [{"type": "string", "field": "userId"}]}
    return json.dumps({"schema": schema, "payload": MessageToDict(event)}).encode()


BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"other"), ("ce_source", b"/shop"), ("ce_type", b"action")]
FORMS: dict[str, Callable[[Interaction], Form]] = {
    "protobuf": lambda event: (event.SerializeToString(), []),
    "JSON": lambda event: (as_json(event), []),
    "JSON with a byte-order mark": lambda event: (b"\xef\xbb\xbf" + as_json(event), []),
    "JSON after blanks": lambda event: (b"\n\t \r\n" + as_json(event), []),
    "Confluent protobuf, first message": lambda event: (FRAME + b"\x00" + event.SerializeToString(), []),
    "Confluent protobuf, [0]": lambda event: (FRAME + b"\x02\x00" + event.SerializeToString(), []),
    "Confluent protobuf, [2, 0]": lambda event: (FRAME + b"\x04\x04\x00" + event.SerializeToString(), []),
    "Confluent protobuf, [2, 0], early": lambda event: (
        FRAME + b"\x02\x02\x00" + event.SerializeToString(),
        [],
    ),
    "Confluent JSON Schema": lambda event: (FRAME + as_json(event), []),
    "Kafka Connect": lambda event: (connected(event), []),
    "JSON in UTF-16": lambda event: (MessageToJson(event).encode("utf-16-le"), []),
    "JSON in UTF-16 with a mark": lambda event: (MessageToJson(event).encode("utf-16"), []),
    "CloudEvents, structured": lambda event: (structured(event), []),
    "CloudEvents, structured, base64": lambda event: (encoded(event), []),
    "CloudEvents, binary, JSON": lambda event: (as_json(event), BINARY),
    "CloudEvents, binary, protobuf": lambda event: (event.SerializeToString(), BINARY),
}


def read(value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> Record | Refusal:
    return parse(value, b"any key", headers, PLACE, T0, ProfileSettings())


@pytest.mark.parametrize("form", FORMS)
@given(event=sent)
def test_an_interaction_is_the_same_in_each_form(form: str, event: Interaction) -> None:
    if "Cloud" in form:
        event.event_id = event.event_id or "given"
    value, headers = FORMS[form](event)
    assert decode(value, headers) == Decoded((event,))


@pytest.mark.parametrize("length", [91, 123])
def test_an_event_id_as_long_as_a_bracket_is_no_json(length: int) -> None:
    """A line feed, then the bracket: so begins the protobuf form of an event with an id of that length."""
    for text in ("x" * length, ("[" * length), '{"a":1}'.ljust(length)):
        event = Interaction(
            event_id=text, user_id="ann", item_id="A", action="view", event_time=timestamp(T0)
        )
        value = event.SerializeToString()
        assert value[:2] in (b"\n{", b"\n[")
        assert decode(value, ()).interactions[0] == event


def test_a_json_document_that_is_also_protobuf_is_json() -> None:
    document = b'\n{"userId":"ann","itemId":"A","action":"view","eventTime":%d,"surface":"home"}' % T0
    document = document[:-1] + b" " * (125 - len(document)) + b"}"
    assert Interaction.FromString(document).event_id == document[2:].decode()
    assert decode(document, ()).interactions[0].user_id == "ann"


def test_a_cloud_event_gives_its_id_and_time_where_the_data_has_none() -> None:
    data = {"userId": "ann", "itemId": "A", "action": "view"}
    envelope = {"specversion": "1.0", "id": "e1", "time": "2030-01-31T12:00:00.123456789+01:00"}
    found = decode(json.dumps({**envelope, "data": data}).encode(), ()).interactions[0]
    assert (found.event_id, milliseconds(found.event_time)) == ("e1", 1896087600123)
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e1"), ("ce_time", b"2030-01-31T11:00:00.123Z")]
    binary = decode(json.dumps(data).encode(), headers).interactions[0]
    assert (binary.event_id, milliseconds(binary.event_time)) == ("e1", 1896087600123)
    complete = {**data, "eventId": "mine", "eventTime": 5}
    found = decode(json.dumps({**envelope, "data": complete}).encode(), ()).interactions[0]
    assert (found.event_id, milliseconds(found.event_time)) == ("mine", 5)


def test_ids_may_be_whole_numbers_to_the_last_digit() -> None:
    document = b'{"userId":12345678901234567890,"item_id":-7,"eventId":0,"action":"view","eventTime":%d}' % T0
    found = decode(document, ()).interactions[0]
    assert (found.user_id, found.item_id, found.event_id) == ("12345678901234567890", "-7", "0")
    for other in (b"1.0", b"1e3", b"true", b"[1]"):
        with pytest.raises(NotJson, match="user_id|userId"):
            decode(b'{"userId":%s}' % other, ())


def test_the_ids_of_kinds_may_be_whole_numbers() -> None:
    undone = decode(b'{"userId":1,"undo":{"eventId":17}}', ()).interactions[0]
    assert (undone.user_id, undone.undo.event_id) == ("1", "17")
    seen = decode(
        b'{"userId":1,"slate_id":3,"impression":{"item_ids":[1,"b"],"firstPosition":20}}', ()
    ).interactions[0]
    assert (list(seen.impression.item_ids), seen.impression.first_position) == (["1", "b"], 20)
    for wrong in (b"[1.5]", b"[true]", b"[null]", b"[[1]]", b'"a"', b"7"):
        with pytest.raises(NotJson):
            decode(b'{"userId":1,"impression":{"itemIds":%s}}' % wrong, ())


def test_an_event_has_one_kind() -> None:
    with pytest.raises(NotJson, match="kind"):
        decode(b'{"userId":"ann","undo":{"eventId":"e"},"impression":{"itemIds":["a"]}}', ())


@pytest.mark.parametrize("name", ["eventTime", "event_time"])
def test_a_time_in_json_is_text_in_rfc_3339_or_milliseconds(name: str) -> None:
    for right in ('"2030-01-31T11:00:00Z"', '"2030-01-31T12:00:00+01:00"', "1896087600000", "1.8960876e12"):
        found = decode(b'{"%s":%s}' % (name.encode(), right.encode()), ()).interactions[0]
        assert milliseconds(found.event_time) == 1896087600000
    assert (
        milliseconds(decode(b'{"eventTime":1793500000000.75}', ()).interactions[0].event_time)
        == 1793500000000
    )
    assert not decode(b'{"eventTime":null}', ()).interactions[0].HasField("event_time")
    for wrong in (
        '"2030-01-31"',
        '"2030-01-31T11:00:00"',
        '"yesterday"',
        '"1896087600000"',
        "1896087600000000",
        "-1e400",
        "NaN",
        "[1]",
        "true",
        '"9999-99-99T00:00:00Z"',
    ):
        with pytest.raises(NotJson, match="eventTime|event_time"):
            decode(b'{"%s":%s}' % (name.encode(), wrong.encode()), ())


def test_a_record_of_very_many_fields_takes_no_time() -> None:
    """A megabyte of names, the last of them twice. Looking for it among the others took minutes."""
    names = [f"{number:x}" for number in range(120_000)]
    text = "{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}"
    assert len(text) > 1_000_000
    with pytest.raises(NotJson, match="twice"):
        decode(text.encode(), ())


def test_a_field_that_is_given_twice_is_refused() -> None:
    for twice in (
        b'{"userId":"a","user_id":"b"}',
        b'{"userId":"a","userId":"a"}',
        b'{"eventTime":null,"event_time":1}',
        b'{"undo":{"eventId":"a","event_id":"b"}}',
    ):
        with pytest.raises(NotJson, match="twice"):
            decode(twice, ())


def test_a_truth_value_is_no_rating() -> None:
    with pytest.raises(NotJson, match="value is True"):
        decode(b'{"userId":"ann","action":"rate","value":true}', ())


def test_unknown_fields_are_named() -> None:
    found = decode(b'{"userId":"ann","rating":1.0,"id":"c1","page":{"x":[1]}}', ())
    assert found.unknown == ("id", "page", "rating")
    assert decode(b'{"undo":{"eventId":"e","why":"x"}}', ()).unknown == ("undo.why",)
    later = Interaction(user_id="ann").SerializeToString() + b"\xfa\x01\x01x"
    assert decode(later, ()).unknown == ("field 31",)
    many = json.dumps({f"{number:03}" + "x" * 100: 1 for number in range(50)}).encode()
    assert len(decode(many, ()).unknown) == 8
    assert max(map(len, decode(many, ()).unknown)) == 40


def test_a_refusal_names_the_unknown_fields() -> None:
    """A producer that sends `id` for the event's id and `rating` for its value learns why its rating is refused."""
    document = b'{"userId":"ann","itemId":"A","action":"rate","rating":1.0,"eventTime":%d}' % T0
    answer = read(document)
    assert isinstance(answer, Refusal) and answer.reason is Reason.VALUE and answer.user_id == "ann"
    assert "unknown fields: rating" in answer.detail


@pytest.mark.parametrize(
    ("value", "headers", "error", "says"),
    [
        (FRAME, [], NotProtobuf, "schema 7"),
        (FRAME + b"\x02\x06\x08abc", [], NotProtobuf, "Avro is not read"),
        (b"\x00", [], NotProtobuf, "schema"),
        (b'[{"userId":"ann"}]', [], NotJson, "one interaction a record"),
        (b"not an event", [], NotProtobuf, "neither"),
        (json.dumps('{"userId":"ann"}').encode(), [], NotProtobuf, "encoded twice"),
        (b'{"userId":"ann"}\x00', [], NotJson, "Extra data"),
        (b'{"userId":"ann"}\n{"userId":"bob"}', [], NotJson, "Extra data"),
        (b"{'userId':'ann'}", [], NotJson, "double quotes"),
        (gzip.compress(b'{"userId":"ann"}', mtime=0), [], NotProtobuf, "gzip"),
        (b'{"specversion":"0.3","data":{}}', [], NotCloudEvent, "0.3"),
        (b'{"specversion":1.0,"data":{}}', [], NotCloudEvent, "no text"),
        (b'{"data":{},"specversion":' + b"[" * 900 + b"]" * 900 + b"}", [], NotCloudEvent, "no text"),
        ("5".encode("utf-16"), [], NotJson, "no object"),
        ('"specversion"'.encode("utf-16"), [], NotJson, "no object"),
        (b'{"specversion":"1.0"}', [], NotCloudEvent, "data"),
        (b'{"specversion":"1.0","data":"text"}', [], NotCloudEvent, "data"),
        (b'{"specversion":"1.0","data_base64":"??"}', [], NotCloudEvent, "base64"),
        ('{"specversion":"1.0","data_base64":"é"}'.encode(), [], NotCloudEvent, "base64"),
        (b'{"specversion":"1.0","id":"\\ud800","data":{}}', [], NotCloudEvent, "id"),
        (b'{"specversion":"1.0","time":"now","data":{}}', [], NotCloudEvent, "time"),
        (b"{}", [("ce_specversion", b"\xff")], NotCloudEvent, "version"),
    ],
)
def test_what_no_form_fits_is_refused_with_a_hint(
    value: bytes, headers: list[tuple[str, bytes]], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        decode(value, headers)


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_record_is_an_event_or_is_refused_with_its_reason(form: str) -> None:
    rng = np.random.default_rng(7)
    event = Interaction(
        event_id="e1", user_id="ann", item_id="A", action="rate", event_time=timestamp(T0), value=4.5
    )
    value, headers = FORMS[form](event)
    for _ in range(2000):
        damaged = bytearray(value)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(damaged)))
            match rng.integers(3):
                case 0:
                    damaged[at] = int(rng.integers(256))
                case 1:
                    del damaged[at:]
                    damaged += b" "
                case _:
                    damaged[at:at] = rng.bytes(int(rng.integers(1, 5)))
        answer = read(bytes(damaged), headers)
        assert isinstance(answer, Event | Skip) or (isinstance(answer, Refusal) and answer.detail), damaged
