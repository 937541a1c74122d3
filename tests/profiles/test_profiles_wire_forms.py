"""The same events give the same profile, to the byte, in each wire form. Whatever befalls a record, it is applied or
refused with a reason."""

import json
from collections.abc import Callable
from random import Random

import pytest
from google.protobuf.json_format import MessageToDict

from profiles.actions import ProfileSettings
from profiles.folding.events import Position, Record
from profiles.folding.fold import fold
from profiles.interactions import Reason, Refusal, parse
from profiles.mappings import EventMapping
from profiles.profile import Profile
from profiles.ready_mappings import READY
from profiles.store.codec import encode
from profiles.times import timestamp
from recstream.v1.interaction_pb2 import Interaction
from tests.profiles.profile_records import T0, TOPIC
from tests.profiles.test_profiles_mappings import ORDER, ROW, SNOWPLOW
from tests.profiles.test_profiles_wire import FORMS, Form

EVENTS = 400
MUTATIONS = 10_000
SETTINGS = ProfileSettings()
MAPPINGS = [EventMapping.model_validate(name) for name in READY]
WORDS = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"NaN",
    b"\\ud800",
    b"\0",
]
NESTED = [b"[" * 5_000, b'{"a":' * 5_000, b"9" * 5_000, b"\xff\xff\xff\xff\x0f", b"\n\x7f"]


def shop_event(number: int, random: Random) -> Interaction:
    """An event with every field that its kind may have."""
    event = Interaction(
        event_id=f"event-{number}",
        user_id="ann",
        event_time=timestamp(T0 - random.randrange(86_400_000)),
        slate_id=f"slate-{number // 10}",
        surface="home",
        domain="shop",
        experiments={"ranker": "b", "größe": "xl"},
        session_id=f"visit-{number // 20}",
        context={"device": "phone", "country": "DE"},
    )
    kind = random.choice(["view", "like", "rate", "purchase", "cart", "undo", "impression"])
    if kind == "undo":
        event.undo.event_id = f"event-{random.randrange(number + 1)}"
    elif kind == "impression":
        event.impression.item_ids.extend(f"item-{number}-{place}" for place in range(random.randint(1, 30)))
        event.impression.first_position = random.randrange(100)
    else:
        event.item_id, event.action = random.choice(["shoe-{}", "42{}", "чай-{}"]).format(number % 60), kind
        event.position = random.randrange(20)
        if kind == "rate":
            event.value = random.choice([0.5, 3.0, 4.5])
        if kind == "purchase":
            event.order_id, event.quantity, event.price, event.currency = f"o-{number}", 2, 89.5, "EUR"
    return event


def shop(seed: int = 7) -> list[Interaction]:
    random = Random(seed)
    return [shop_event(number, random) for number in range(EVENTS)]


def read(form: Form, offset: int) -> Record | Refusal:
    value, headers = form
    return parse(value, b"ann", headers, Position(TOPIC, 0, offset), T0, SETTINGS, mappings=MAPPINGS)


def profile_of(form: str) -> Profile:
    records = []
    for offset, event in enumerate(shop()):
        record = read(FORMS[form](event), offset)
        assert not isinstance(record, Refusal), record
        records.append(record)
    return fold(None, "ann", records, SETTINGS).profile


@pytest.mark.parametrize("form", FORMS)
def test_a_shop_s_events_give_the_same_profile_to_the_byte_in_each_form(form: str) -> None:
    want = profile_of("protobuf")
    assert len(want.history) == 96 and want.impressions and sum(want.totals.values()) == EVENTS
    assert encode(profile_of(form)) == encode(want)


def mutated(form: Form, other: Form, random: Random) -> Form:
    """The record after one to four accidents, some of which also happen to its headers."""
    value, headers = bytearray(form[0]), list(form[1])
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(value) + 1)
        to = min(len(value), at + random.randint(1, 8))
        match random.randrange(9):
            case 0:
                value[at:to] = bytes(random.randrange(256) for _ in range(to - at))
            case 1:
                del value[at:to]
            case 2:
                del value[at:]
            case 3:
                value[at:at] = value[at:to] * random.randint(1, 50)
            case 4:
                value[at:to] = random.choice(WORDS)
            case 5:
                value[at:] = other[0][random.randrange(len(other[0])) :]
            case 6 if value:
                value[at % len(value)] ^= 1 << random.randrange(8)
            case 7 if random.random() < 0.05:
                value[at:at] = random.choice(NESTED)
            case _ if headers:
                name, content = random.choice(headers)
                odd = random.choice([b"", b"\xff", b"2.0", b"\0" * 300, content[::-1]])
                headers.append((name, odd))
                random.shuffle(headers)
    return bytes(value), headers


def foreign(document: dict[str, object]) -> Form:
    return json.dumps(document).encode(), []


SEEDS: dict[str, Callable[[Interaction], Form]] = {
    **FORMS,
    "Segment": lambda event: foreign({**ORDER, "messageId": event.event_id}),
    "GA4": lambda event: foreign({**ROW, "user_id": event.event_id}),
    "Snowplow": lambda event: foreign({**SNOWPLOW, "event_id": event.event_id}),
}
MUTATED = [
    "protobuf",
    "JSON",
    "Confluent protobuf, [2, 0]",
    "Confluent JSON Schema",
    "CloudEvents, binary, JSON",
    "CloudEvents, structured, base64",
    "Kafka Connect",
    "Segment",
    "GA4",
    "Snowplow",
]


@pytest.mark.parametrize("form", MUTATED)
def test_each_of_thousands_of_mutations_is_applied_or_refused_with_a_reason(form: str) -> None:
    random = Random(form)
    seeds = [SEEDS[form](event) for event in shop()[:50]]
    outcomes = {"applied": 0, "refused": 0}
    for number in range(MUTATIONS if form in FORMS else MUTATIONS // 4):
        answer = read(mutated(random.choice(seeds), random.choice(seeds), random), number)
        if isinstance(answer, Refusal):
            assert answer.reason in Reason and answer.detail and len(answer.detail) <= 500
            outcomes["refused"] += 1
            continue
        profile = fold(None, answer.user_id, [answer], SETTINGS).profile
        assert profile.includes(Position(TOPIC, 0, number)) and encode(profile)
        outcomes["applied"] += 1
    assert min(outcomes.values()) > 100, outcomes


def test_the_shop_s_events_have_every_field_of_the_contract() -> None:
    names = {name for event in shop() for name in MessageToDict(event)}
    assert names == {field.json_name for field in Interaction.DESCRIPTOR.fields}
