"""A mapping turns other producers' records into events. One record may give several, which count once and together."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from profiles.actions import ProfileSettings
from profiles.folding.events import Event, Events, Position, Record, Skip, SlateImpression, events_of
from profiles.folding.fold import fold
from profiles.interactions import UNKNOWN_ACTION, Reason, Refusal, parse
from profiles.mappings import MOST_EVENTS, EventMapping
from profiles.profile import Profile
from profiles.ready_mappings import READY
from profiles.store.codec import encode
from tests.profiles.profile_records import (
    ROOMY,
    SMALL,
    T0,
    TOPIC,
    contents,
    in_batches,
    interleaved,
    placed,
    rows,
    run,
    shown,
)

PLACE = Position(TOPIC, 3, 42)
SETTINGS = ProfileSettings()
TIME = "2023-11-14T22:13:20.000Z"
ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "anonymousId": "visitor-7",
    "userId": "ann",
    "timestamp": TIME,
    "properties": {
        "order_id": "o-1",
        "currency": "eur",
        "products": [
            {"product_id": "shoe-17", "sku": "S17", "price": "89,50", "quantity": 1},
            {"product_id": 18, "price": 3},
        ],
    },
}
ROW = {
    "event_date": "20231114",
    "event_timestamp": "1700000000000123",
    "event_name": "purchase",
    "user_id": None,
    "user_pseudo_id": "123.456",
    "batch_page_id": 7,
    "batch_ordering_id": 2,
    "items": [{"item_id": "shoe-17", "price": 89.5}, {"item_id": "(not set)"}, {"item_id": "shoe-18"}],
}
SNOWPLOW = {
    "event": "unstruct",
    "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
    "collector_tstamp": TIME,
    "derived_tstamp": TIME,
    "user_id": "ann",
    "domain_userid": "bc2e92ec6c204a14",
    "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1": {
        "type": "product_view"
    },
    "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1": [{"id": "shoe-17", "price": 89.5}],
}
OURS: dict[str, Any] = {
    "name": "ours",
    "when": "kind == 'deed'",
    "fields": {"userId": "who", "itemId": "what", "action": "deed", "value": "stars"},
}


def mapping(given: Any) -> EventMapping:
    return EventMapping.model_validate(given)


def read(
    document: object, *mappings: Any, headers: list[tuple[str, bytes]] | None = None
) -> Record | Refusal:
    value = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse(
        value, None, headers or [], PLACE, T0, SETTINGS, mappings=[mapping(each) for each in mappings]
    )


def refused(document: object, *mappings: Any) -> Refusal:
    answer = read(document, *mappings)
    assert isinstance(answer, Refusal), answer
    return answer


def happened(record: Record | Refusal) -> list[tuple[str, str, str, str, int]]:
    assert not isinstance(record, Refusal), record
    return [
        (e.user_id, e.event_id, e.action, e.item_id, e.time_ms)
        for e in events_of(record)
        if isinstance(e, Event)
    ]


def test_an_order_of_segment_is_an_event_for_each_product() -> None:
    want = [("ann", "m-1-0", "purchase", "shoe-17", T0), ("ann", "m-1-1", "purchase", "18", T0)]
    assert happened(read(ORDER, "segment")) == want
    assert happened(read(ORDER, "rudderstack")) == want


def test_an_event_of_segment_about_one_product_has_its_fields_in_properties() -> None:
    viewed = {
        "type": "track",
        "event": "Product Viewed",
        "messageId": "m-2",
        "anonymousId": "visitor-7",
        "userId": "",
        "properties": {"sku": "S17"},
    }
    assert happened(read(viewed, "segment")) == [("visitor-7", "m-2-0", "view", "S17", T0)]


@pytest.mark.parametrize(
    "other",
    [
        {"type": "page", "messageId": "m-3", "userId": "ann", "properties": {"title": "Home"}},
        {"type": "identify", "messageId": "m-4", "userId": "ann", "traits": {"plan": "gold"}},
        {**ORDER, "event": "Order Refunded"},
    ],
)
def test_other_records_of_segment_count_nothing_and_are_no_dead_letters(other: dict[str, Any]) -> None:
    assert read(other, "segment") == Skip("ann", PLACE, T0, UNKNOWN_ACTION)


def test_a_row_of_ga4_is_an_event_for_each_item_that_has_an_id() -> None:
    event_id = "123.456-1700000000000123-purchase-7-2-null"
    assert happened(read(ROW, "ga4")) == [
        ("123.456", f"{event_id}-0", "purchase", "shoe-17", T0),
        ("123.456", f"{event_id}-1", "purchase", "shoe-18", T0),
    ]
    scroll = {**ROW, "event_name": "scroll", "items": []}
    assert read(scroll, "ga4") == Skip("123.456", PLACE, T0, UNKNOWN_ACTION)


def test_a_request_of_the_measurement_protocol_is_read_if_it_has_one_event() -> None:
    viewed = {"name": "view_item", "params": {"items": [{"item_id": "shoe-17"}]}}
    request = {"client_id": "123.456", "timestamp_micros": 1_700_000_000_000_000, "events": [viewed]}
    assert happened(read(request, "ga4")) == [("123.456", f"{PLACE.event_id}-0", "view", "shoe-17", T0)]
    refused({**request, "events": [viewed, viewed]}, "ga4")


def test_an_event_of_snowplow_has_its_products_in_a_context() -> None:
    want = [("ann", "c6ef3124-b53a-4b13-a233-0088f79dcbcb-0", "view", "shoe-17", T0)]
    assert happened(read(SNOWPLOW, "snowplow")) == want
    ping = {"event": "page_ping", "event_id": "p-1", "collector_tstamp": TIME, "domain_userid": "bc2e"}
    assert read(ping, "snowplow") == Skip("bc2e", PLACE, T0, UNKNOWN_ACTION)


def test_without_each_a_record_is_one_event_with_its_own_id() -> None:
    deed = {"kind": "deed", "who": 7, "what": 8, "deed": "rate", "stars": "4.5"}
    event = read(deed, OURS)
    assert event == Event("7", PLACE, T0, PLACE.event_id, "8", "rate", T0, 4.5)
    named = {**OURS, "fields": {**OURS["fields"], "eventId": "id"}}
    assert happened(read({**deed, "id": "d-1"}, named)) == [("7", "d-1", "rate", "8", T0)]


def test_a_mapping_may_make_impressions_and_undo_events() -> None:
    seen = {
        "name": "seen",
        "when": "seen",
        "fields": {"userId": "who", "impression.itemIds": "seen[].sku", "impression.firstPosition": "top"},
    }
    impression = read({"who": "ann", "seen": [{"sku": 1}, {"sku": 2}], "top": 20}, seen)
    assert impression == SlateImpression("ann", PLACE, T0, PLACE.event_id, ("1", "2"), T0)
    undone = {"name": "undone", "when": "undone", "fields": {"userId": "who", "undo.eventId": "undone"}}
    event = read({"who": "ann", "undone": "d-1"}, undone)
    assert event == Event("ann", PLACE, T0, PLACE.event_id, "", "undo", T0, None, "d-1")


def test_the_first_mapping_that_takes_a_record_makes_its_events() -> None:
    like = {**OURS, "name": "first", "fields": {**OURS["fields"], "action": "'like'"}}
    deed = {"kind": "deed", "who": "ann", "what": "A", "deed": "view"}
    assert happened(read(deed, like, OURS))[0][2] == "like"
    assert happened(read(deed, OURS, like))[0][2] == "view"


def test_a_record_that_no_mapping_takes_is_an_interaction() -> None:
    plain = {"userId": "ann", "itemId": "A", "action": "view"}
    broken = {**OURS, "name": "broken", "when": "starts_with(event, 'Product')"}
    assert happened(read(plain, "segment", "ga4", OURS, broken)) == [("ann", PLACE.event_id, "view", "A", T0)]


def test_the_data_of_a_cloud_event_may_be_of_another_producer() -> None:
    order = {**ORDER, "messageId": None, "timestamp": None}
    structured = {"specversion": "1.0", "id": "c-1", "time": TIME, "data": order}
    want = [("ann", "c-1-0", "purchase", "shoe-17", T0), ("ann", "c-1-1", "purchase", "18", T0)]
    segment = {"name": "segment", "when": "type == 'track'"}
    assert happened(read(structured, segment)) == want
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"c-1"), ("ce_time", TIME.encode())]
    assert happened(read(order, segment, headers=headers)) == want
    framed = b"\0\0\0\0\7" + json.dumps(order).encode()
    assert [item for *_, item, _ in happened(read(framed, segment))] == ["shoe-17", "18"]
    connect = {"schema": None, "payload": order}
    assert [item for *_, item, _ in happened(read(connect, segment))] == ["shoe-17", "18"]


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (
            {"userId": None, "anonymousId": ""},
            Reason.USER_ID,
            "user_id is missing (from userId || anonymousId)",
        ),
        ({"userId": "null"}, Reason.USER_ID, "forbidden"),
        ({"properties": {}}, Reason.ITEM_ID, "element 0: item_id is missing (from each.product_id || each.p"),
        (
            {"properties": {"products": [{"sku": "A"}, {"name": "B"}]}},
            Reason.ITEM_ID,
            "element 1: item_id is",
        ),
        ({"properties": {"products": []}}, Reason.ITEM_ID, "item_id is missing"),
        ({"properties": {"products": "A"}}, Reason.MAPPING, "each gives 'A', which is no list"),
        ({"properties": {"products": [{}] * 501}}, Reason.MAPPING, "501 elements; the limit is 500"),
        ({"timestamp": "yesterday"}, Reason.MAPPING, "element 0: eventTime is 'yesterday'"),
        ({"timestamp": "1970-01-20T16:13:20Z"}, Reason.EVENT_TIME, "event_time"),
        ({"messageId": "m" * 127}, Reason.EVENT_ID, "with its number is longer than 128 bytes"),
        ({"messageId": {"a": 1}}, Reason.MAPPING, "event_id"),
    ],
)
def test_what_a_mapping_cannot_use_is_refused_with_the_mapping_and_the_field(
    change: dict[str, Any], reason: Reason, says: str
) -> None:
    answer = refused({**ORDER, **change}, "segment")
    assert answer.reason is reason
    assert answer.detail.startswith("mapping segment") and says in answer.detail


def test_a_record_is_of_one_user() -> None:
    carts = {
        "name": "carts",
        "when": "carts",
        "each": "carts",
        "fields": {"userId": "each.who", "itemId": "each.what", "action": "'cart'"},
    }
    one = {"who": "ann", "what": "A"}
    assert len(happened(read({"carts": [one, {**one, "what": "B"}]}, carts))) == 2
    answer = refused({"carts": [one, {**one, "who": "bob"}]}, carts)
    assert answer.reason is Reason.MAPPING and "element 1" in answer.detail and "one user" in answer.detail


def test_known_and_unknown_actions_may_share_a_record() -> None:
    mixed = {
        "name": "mixed",
        "when": "deeds",
        "each": "deeds",
        "fields": {"userId": "who", "itemId": "each.what", "action": "each.deed"},
    }
    deeds = [{"deed": "ogle"}, {"deed": "view", "what": "A"}, {"deed": "like", "what": "B"}]
    found = happened(read({"who": "ann", "deeds": deeds}, mixed))
    assert [(event_id[-2:], item) for _, event_id, _, item, _ in found] == [("-1", "A"), ("-2", "B")]
    assert read({"who": "ann", "deeds": deeds[:1]}, mixed) == Skip("ann", PLACE, T0, UNKNOWN_ACTION)


@pytest.mark.parametrize("units", ["from_seconds(at)", "from_microseconds(at)"])
def test_functions_give_milliseconds(units: str) -> None:
    timed = {**OURS, "fields": {**OURS["fields"], "eventTime": units}}
    deed = {"kind": "deed", "who": "ann", "what": "A", "deed": "view"}
    at = T0 // 1000 if "from_seconds" in units else T0 * 1000
    usable: list[Any] = [at, str(at), float(at)]
    for time in usable:
        assert happened(read({**deed, "at": time}, timed))[0][4] == T0
    unusable: list[Any] = [None, "", "soon", True, [], {}, "1e999"]
    for time in unusable:
        assert happened(read({**deed, "at": time}, timed))[0][4] == T0  # The record's.


@pytest.mark.parametrize("failing", ["ceil(stars)", "join('-', stars)", "to_number(stars) && abs(what)"])
def test_an_expression_that_fails_is_a_dead_letter(failing: str) -> None:
    broken = {**OURS, "fields": {**OURS["fields"], "value": failing}}
    document = b'{"kind":"deed","who":"ann","what":"A","deed":"view","stars":Infinity}'
    answer = refused(document, broken)
    assert answer.reason is Reason.MAPPING and "mapping ours: value cannot be evaluated" in answer.detail


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("segmnt", "there is no ready-made mapping 'segmnt'"),
        ({"name": "segment", "wen": "type"}, "wen"),
        ({**OURS, "when": "kind =="}, "not JMESPath"),
        ({**OURS, "when": ""}, "at least 1 character"),
        ({**OURS, "when": "a" * 2_001}, "at most 2000 characters"),
        ({**OURS, "when": "(" * 2_000}, "not JMESPath"),
        ({**OURS, "when": "lower(kind)"}, "there is no function lower()"),
        ({**OURS, "when": "kind && length(kind, who)"}, "length() has 2 arguments instead of 1"),
        ({**OURS, "name": "Our own"}, "name"),
        ({**OURS, "fields": {"itemId": "what", "action": "deed"}}, "userId is missing"),
        ({**OURS, "fields": {"userId": "who", "itemId": "what"}}, "what happened is missing"),
        ({**OURS, "fields": {**OURS["fields"], "item_id": "what"}}, "no field 'item_id'"),
        ({**OURS, "fields": {**OURS["fields"], "undo": "what"}}, "undo has parts; write one of undo.eventId"),
        ({**OURS, "fields": {**OURS["fields"], "eventTime.seconds": "what"}}, "eventTime has no parts"),
        ({**OURS, "fields": {**OURS["fields"], "context.device": "what"}}, "context has no parts"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_with_the_settings(wrong: Any, says: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        mapping(wrong)
    assert says in str(refusal.value)


def test_a_ready_made_mapping_can_be_changed_in_part() -> None:
    changed = {
        "name": "segment",
        "fields": {"itemId": "each.variant"},
        "actions": {"Product Shared": "like", "Product Viewed": "click"},
    }
    shared = {**ORDER, "event": "Product Shared", "properties": {"variant": "V"}}
    assert happened(read(shared, changed)) == [("ann", "m-1-0", "like", "V", T0)]
    assert happened(read({**shared, "event": "Product Viewed"}, changed))[0][2] == "click"
    assert mapping("segment").actions["Product Viewed"] == "view"


@pytest.mark.parametrize("name", READY)
def test_a_ready_made_mapping_survives_being_written_and_read_again(name: str) -> None:
    one = mapping(name)
    assert EventMapping.model_validate_json(one.model_dump_json()).model_dump() == one.model_dump()


PAGE = Path(__file__).parents[2] / "docs" / "producers.md"


def examples() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The JSON documents and the settings of the page's section about other producers."""
    section = PAGE.read_text().partition("## Events of other producers")[2].partition("\n## ")[0]
    indented = "\n".join(line for line in section.splitlines() if line.startswith("    ")).replace("\n", " ")
    documents, at = [], indented.find('{"')
    while at >= 0:
        document, end = json.JSONDecoder().raw_decode(indented, at)
        documents.append(document)
        at = indented.find('{"', end)
    blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    return documents, [yaml.safe_load(block) for block in blocks]


def test_the_page_says_what_mappings_do() -> None:
    (order, first, second, row), settings = examples()
    for block in settings:
        assert [mapping(each) for each in block["ingest"]["mappings"]]
    plain = [event for document in (first, second) for event in happened(read(document))]
    assert happened(read(order, "segment")) == plain
    assert [(who, what, item) for who, _, what, item, _ in happened(read(row, "ga4"))] == [
        ("ann", "purchase", "shoe-17"),
        ("ann", "purchase", "shoe-18"),
    ]
    baskets = {"kind": "basket", "id": "b-1", "customer": {"id": 7}, "verb": "bought", "at": T0 // 1000}
    baskets["lines"] = [{"sku": "A"}, {"note": "gift"}, {"sku": "B"}]
    own = settings[1]["ingest"]["mappings"][0]
    assert happened(read(baskets, own)) == [
        ("7", "b-1-0", "purchase", "A", T0),
        ("7", "b-1-1", "purchase", "B", T0),
    ]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.data(), st.sampled_from(["segment", "ga4", "snowplow"]))
def test_no_record_makes_a_mapping_raise(data: st.DataObject, name: str) -> None:
    """Each part of a good record is replaced by anything."""
    document = json.loads(json.dumps({"segment": ORDER, "ga4": ROW, "snowplow": SNOWPLOW}[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(json_values)
            break
    answer = read(json.dumps(document).encode(), name)
    if not isinstance(answer, Refusal):
        assert len(events_of(answer)) <= MOST_EVENTS
        assert all(event.position == PLACE for event in events_of(answer))


@st.composite
def grouped(draw: st.DrawFn, *, repeats: bool) -> tuple[list[Record], list[Record]]:
    """A log whose records hold several events; and the same events, one a record."""
    events = draw(contents(repeats=repeats))
    together: list[Record] = []
    number = 0
    while number < len(events):
        size = draw(st.integers(1, 4))
        partition = draw(st.integers(0, 2))
        some = events[number : number + size]
        number += size
        position = Position(TOPIC, partition, sum(r.position.partition == partition for r in together))
        time_ms = some[0].record_time_ms
        parts = tuple(replace(each, position=position, record_time_ms=time_ms) for each in some)
        together.append(parts[0] if len(parts) == 1 else Events("ann", position, time_ms, parts))
    flat = [event for record in together for event in events_of(record)]
    return together, placed(flat, [event.position.partition for event in flat])


@given(grouped(repeats=True), st.lists(st.integers(1, 6)), st.data())
def test_several_events_of_a_record_count_once_in_any_batching_and_redelivery(
    logs: tuple[list[Record], list[Record]], sizes: list[int], data: st.DataObject
) -> None:
    records, _ = logs
    once = run(records).profile
    batched, _ = in_batches(records, sizes, SMALL)
    if batched is not None:
        assert encode(batched) == encode(once)
    profile: Profile | None = None
    read = 0
    for _ in range(4):
        start = data.draw(st.integers(0, read))
        read = data.draw(st.integers(read, len(records)))
        profile = run(records[start:read], profile=profile).profile
    profile = run(records[data.draw(st.integers(0, read)) :], profile=profile).profile
    assert encode(profile) == encode(once)
    again = run(records, profile=profile)
    assert again.count == 0 and again.dropped == sum(len(events_of(record)) for record in records)
    assert encode(again.profile) == encode(once)


@given(grouped(repeats=False), st.lists(st.integers(0, 2), max_size=30))
def test_several_events_of_a_record_are_the_same_as_one_a_record(
    logs: tuple[list[Record], list[Record]], order: list[int]
) -> None:
    records, flat = logs
    together, alone = run(interleaved(records, order), ROOMY), run(flat, ROOMY)
    assert rows(together.profile.history) == rows(alone.profile.history)
    assert shown(together.profile.impressions) == shown(alone.profile.impressions)
    assert together.profile.totals == alone.profile.totals
    assert together.profile.events == alone.profile.events
    assert together.profile.expires_at_ms == alone.profile.expires_at_ms


def test_more_events_in_a_record_than_a_history_holds_leave_the_newest() -> None:
    order = {**ORDER, "properties": {"products": [{"sku": str(n)} for n in range(MOST_EVENTS)]}}
    record = read(order, "segment")
    assert isinstance(record, Events)
    one = fold(None, "ann", [record], SETTINGS)
    assert one.profile.totals == {"purchase": MOST_EVENTS} and len(one.profile.history) == 96
    assert len(one.tail_added) == MOST_EVENTS - 96
    assert fold(one.profile, "ann", [record], SETTINGS).profile == one.profile
