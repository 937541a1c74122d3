"""This release reads what a later one writes: what it does not know is passed over and counted. Filters and rules are
refused instead, because a list would be another without the part that is not known."""

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from catalog.filters import filter_check
from catalog.items.items import decode as decode_item
from ingest.online_quality.handler import _slate
from profiles.actions import ProfileSettings
from profiles.folding.events import Position, Skip
from profiles.interactions import LATER_KIND, parse
from profiles.profile import Profile
from profiles.store.codec import REVISION_BYTES
from ranking.rules.check import problems
from recstream.storage.v1 import catalog_pb2, model_pb2, profile_pb2, slate_pb2
from recstream.v1 import (
    catalog_service_pb2,
    filter_pb2,
    interaction_pb2,
    interaction_service_pb2,
    item_pb2,
    profile_service_pb2,
    rules_pb2,
)
from recstream.v1 import recommendation_service_pb2 as recommendation
from server.requests.status import DETAILS_KEY
from telemetry.unknown_fields import MESSAGES, REQUEST, UNKNOWN_FIELDS, names_in, names_in_json
from tests.profiles.profile_records import T0, TOPIC
from tests.released import write_released
from tests.released.forms import READERS, as_json
from tests.released.later import POOL, VALUE, json_name, later, later_contract, later_json, later_kind
from tests.server.world import ITEMS, World, event, eventually, world

KINDS: dict[str, tuple[type[Message], str]] = {
    "profile": (profile_pb2.Profile, "Profile"),
    "announcement": (profile_pb2.Announcement, "Announcement"),
    "interaction": (interaction_pb2.Interaction, "Interaction"),
    "erasure": (profile_pb2.Erasure, "Erasure"),
    "item": (item_pb2.Item, "Item"),
    "item-vector": (catalog_pb2.ItemVector, "ItemVector"),
    "item-stats": (catalog_pb2.ItemStats, "ItemStats"),
    "model-versions": (model_pb2.ServedVersions, "ServedVersions"),
    "slate": (slate_pb2.SlateRecord, "SlateRecord"),
}
PLACE = Position(TOPIC, 1, 42)


def counted(message: str) -> float:
    return UNKNOWN_FIELDS.labels(message)._value.get()


class Notices:
    def __init__(self) -> None:
        self.unknown: list[str] = []

    def unknown_fields(self, names) -> None:
        self.unknown += names

    def unknown_action(self, action: str) -> None: ...

    def clock_ahead(self) -> None: ...


def kept() -> list[tuple[str, bytes, bytes]]:
    """A record of each kind, as this release writes it."""
    records = [*write_released._profiles(), *write_released._records(), *write_released._catalogue(b"{}")]
    return [each for each in records if each[0] != "tail" and not each[2].startswith(b"{")]


def test_a_later_contract_has_more_of_everything() -> None:
    files = later_contract()
    kinds = [
        message
        for file in files.file
        for message in file.message_type
        if file.package.startswith("recstream.")
    ]
    assert len(kinds) > 90
    interaction = POOL.FindMessageTypeByName("recstream.v1.Interaction")
    assert [field.name for field in interaction.oneofs_by_name["kind"].fields][-1] == "later_kind_kind"
    assert POOL.FindEnumTypeByName("recstream.v1.Tier").values_by_number[VALUE]


@pytest.mark.parametrize("what", KINDS)
def test_a_record_of_a_later_release_means_what_this_one_knows_of_it(what: str) -> None:
    kind, label = KINDS[what]
    found = [(key, value) for name, key, value in kept() if name == what]
    assert found
    for key, value in found:
        head = value[:REVISION_BYTES] if what == "profile" else b""
        message = kind.FromString(value[len(head) :])
        if what == "announcement" and message.value:
            inner = message.value
            stored = later(profile_pb2.Profile.FromString(inner[REVISION_BYTES:])).SerializeToString()
            message.value = inner[:REVISION_BYTES] + stored
        before = counted(label)
        newer = head + later(message).SerializeToString()
        assert as_json(READERS[what](key, newer)) == as_json(READERS[what](key, value))
        if what == "slate":
            slate = _slate(type("Record", (), {"value": newer})())
            assert slate is not None
        if what != "interaction":  # The worker counts those, see below.
            assert counted(label) > before


def test_every_message_that_is_counted_is_read_here() -> None:
    assert {label for _, label in KINDS.values()} | {REQUEST} == set(MESSAGES)


@pytest.mark.parametrize("as_bytes", [lambda message: later(message).SerializeToString(), later_json])
def test_an_interaction_of_a_later_release_is_applied_and_its_fields_are_named(as_bytes) -> None:
    for what, key, value in kept():
        if what != "interaction":
            continue
        message = interaction_pb2.Interaction.FromString(value)
        notices = Notices()
        plain = parse(value, key, (), PLACE, T0, ProfileSettings())
        assert parse(as_bytes(message), key, (), PLACE, T0, ProfileSettings(), notices) == plain
        known = {"laterText", "field 1000", "laterPart", "field 1002"}
        assert len(known.intersection(notices.unknown)) == 2
        if message.WhichOneof("kind"):
            assert any(name.startswith(f"{message.WhichOneof('kind')}.") for name in notices.unknown)


@pytest.mark.parametrize("as_json_text", [False, True])
def test_an_interaction_of_a_later_kind_moves_its_users_watermark(as_json_text: bool) -> None:
    message = later_kind(interaction_pb2.Interaction(user_id="ann"), "kind")
    value = json_format.MessageToJson(message).encode() if as_json_text else message.SerializeToString()
    answer = parse(value, None, (), PLACE, T0, ProfileSettings())
    assert answer == Skip("ann", PLACE, T0, LATER_KIND)


def test_an_item_in_json_of_a_later_release_is_read_and_counted() -> None:
    item = item_pb2.Item(item_id="shoe-17", title="Trail shoe", categories=["shoes"])
    item.attributes["colors"].texts.extend(["red", "blue"])
    before = counted("Item")
    value = later_json(item)
    assert decode_item(b"shoe-17", value) == decode_item(b"shoe-17", item.SerializeToString())
    assert counted("Item") == before + 1
    assert decode_item(b"shoe-17", json_format.MessageToJson(item).encode()).title == "Trail shoe"
    assert counted("Item") == before + 1


def test_names_in_protobuf_and_in_json_are_those_of_the_same_fields() -> None:
    item = item_pb2.Item(item_id="a")
    item.attributes["colors"].texts.append("red")
    newer = later(item)
    plain = item_pb2.Item.FromString(newer.SerializeToString())
    assert sorted(names_in(plain)) == sorted(
        f"{path}field {number}" for path in ("", "attributes.") for number in (1000, 1001, 1002, 1003)
    )
    named = names_in_json(json_format.MessageToDict(newer), item_pb2.Item.DESCRIPTOR)
    later_names = [json_name(name) for name in ("later_text", "later_number", "later_part", "later_parts")]
    assert sorted(named) == sorted([*later_names, *(f"attributes.{name}" for name in later_names)])


def test_a_filter_of_a_later_release_is_refused() -> None:
    filters = filter_pb2.Filter(text=filter_pb2.TextFilter(field="category", values=["shoes"]))
    assert not list(filter_check.problems(filters))
    for newer in (later(filters), later_kind(filter_pb2.Filter(), "condition")):
        assert list(filter_check.problems(filter_pb2.Filter.FromString(newer.SerializeToString())))


def every_rule() -> rules_pb2.ListRules:
    rules = rules_pb2.ListRules(diversity=0.5)
    shoes = filter_pb2.Filter(text=filter_pb2.TextFilter(field="category", values=["shoes"]))
    rules.boosts.add(name="shoes", filter=shoes, strength=1)
    rules.pins.add(item_id="a", position=0).window.end_time.seconds = 2_000_000_000
    rules.promotions.add(name="new", filter=shoes, share=0.1)
    rules.caps.add(field="category", most=3)
    rules.rotation.strength = 1
    return rules


def test_rules_of_a_later_release_are_refused_with_the_place_of_each() -> None:
    rules = every_rule()
    assert not list(problems(rules))
    newer = rules_pb2.ListRules.FromString(later(rules).SerializeToString())
    places = {path for path, problem in problems(newer) if "which this server does not know" in problem}
    assert places == {"", "boosts[0]", "pins[0]", "pins[0].window", "promotions[0]", "caps[0]", "rotation"}
    cap = later_kind(rules_pb2.Cap(field="category"), "limit")
    capped = rules_pb2.ListRules(caps=[rules_pb2.Cap.FromString(cap.SerializeToString())])
    assert any("does not know" in problem for _, problem in problems(capped))


@pytest_asyncio.fixture
async def around(kafka, valkey, prefix):
    async with world(kafka, valkey, prefix) as around:
        yield around


async def ask(around: World, method: str, request: bytes, kind: type[Message]) -> Message:
    async with grpc.aio.insecure_channel(around.target) as channel:
        call = channel.unary_unary(f"/recstream.v1.{method}", response_deserializer=kind.FromString)
        return await call(request, timeout=20)


async def test_a_later_client_is_answered_and_its_unknown_fields_are_counted(around: World) -> None:
    requests: list[tuple[str, Message, type[Message]]] = [
        (
            "InteractionService/Record",
            interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1")),
            interaction_service_pb2.RecordResponse,
        ),
        (
            "RecommendationService/Recommend",
            recommendation.RecommendRequest(user_id="ann", count=5),
            recommendation.RecommendResponse,
        ),
        (
            "RecommendationService/Rank",
            recommendation.RankRequest(user_id="ann", item_ids=ITEMS[:5]),
            recommendation.RankResponse,
        ),
        (
            "CatalogService/GetItem",
            catalog_service_pb2.GetItemRequest(item_id="item-1"),
            catalog_service_pb2.GetItemResponse,
        ),
        (
            "CatalogService/PutItems",
            catalog_service_pb2.PutItemsRequest(items=[item_pb2.Item(item_id="new", title="New")]),
            catalog_service_pb2.PutItemsResponse,
        ),
        (
            "ProfileService/GetProfile",
            profile_service_pb2.GetProfileRequest(user_id="ann"),
            profile_service_pb2.GetProfileResponse,
        ),
    ]
    for method, request, kind in requests:
        before = counted(REQUEST)
        newer = later(request).SerializeToString()
        assert await ask(around, method, newer, kind) is not None
        assert counted(REQUEST) == before + 1
        await ask(around, method, request.SerializeToString(), kind)
        assert counted(REQUEST) == before + 1

    async def put() -> bool:
        wanted = catalog_service_pb2.GetItemRequest(item_id="new").SerializeToString()
        found = await ask(around, "CatalogService/GetItem", wanted, catalog_service_pb2.GetItemResponse)
        return found.item.title == "New"

    await eventually(put)


async def test_a_later_filter_or_rule_in_a_request_is_refused_by_the_server(around: World) -> None:
    filtered = recommendation.RecommendRequest(user_id="ann", count=5)
    filtered.filter.text.field = "category"
    filtered.filter.text.values.append("shoes")
    ruled = recommendation.RecommendRequest(user_id="ann", count=5)
    ruled.rules.caps.add(field="category", most=3)
    for request in (filtered, ruled):
        await ask(
            around,
            "RecommendationService/Recommend",
            request.SerializeToString(),
            recommendation.RecommendResponse,
        )
        newer = later(request).SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(around, "RecommendationService/Recommend", newer, recommendation.RecommendResponse)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        details = dict(caught.value.trailing_metadata() or ()).get(DETAILS_KEY, b"")
        assert status_pb2.Status.FromString(details).code == code_pb2.INVALID_ARGUMENT


def test_a_profile_of_a_later_release_that_this_one_writes_loses_what_only_that_one_knows() -> None:
    """So docs/guarantees.md says. A test notices if it changes."""
    from profiles.store.codec import decode, encode, encode_revision

    stored = later(profile_pb2.Profile(user_id="ann"))
    profile = decode(encode_revision(1) + stored.SerializeToString()).profile
    assert profile == Profile("ann")
    assert encode(profile) == profile_pb2.Profile(user_id="ann").SerializeToString()
