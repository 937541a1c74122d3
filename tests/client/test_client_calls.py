"""Unary calls: what is sent, what comes back, what is retried."""

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from recstream.client import (
    Client,
    ClientClosed,
    Interaction,
    InvalidRequest,
    Item,
    NotFound,
    Profile,
    ServerError,
    Tier,
    Unavailable,
    attribute,
    attribute_between,
    category,
    impression,
    interaction,
    new_event_id,
    undo,
)
from recstream.v1 import catalog_service_pb2, profile_service_pb2, recommendation_service_pb2
from recstream.v1.filter_pb2 import Filter, RangeFilter, TextFilter
from recstream.v1.interaction_pb2 import SlateImpression
from recstream.v1.profile_pb2 import HistoryEntry
from tests.client.scripted_server import (
    BatchRecordResponse,
    GetProfileResponse,
    PutItemsResponse,
    RecommendResponse,
    RecordResponse,
    RecordResult,
    ScriptedServer,
    answering,
    bad_request,
    failing,
    hang,
    retry_info,
    slate,
    status,
    token,
)


async def test_recommend_sends_what_it_is_given_and_returns_a_list(server: ScriptedServer, client: Client):
    answer = RecommendResponse(slate=slate("a", "b"), includes_events=True, next_page_token="p2")
    server.play("Recommend", answering(answer))
    films = await client.recommend(
        "ann",
        count=2,
        after=[token(5)],
        surface="home",
        domain="video",
        filter=category("Comedy") & ~attribute("brand", "Acme", "Ajax") & attribute_between("year", min=1990),
        excluded=["c"],
        experiments={"rank": "b"},
    )
    assert films.item_ids == ("a", "b")
    assert len(films) == 2
    assert films[0].score == 1.0
    assert [item.item_id for item in films[1:]] == ["b"]
    assert (films.slate_id, films.tier, films.includes_events, films.next_page_token) == (
        "s",
        Tier.RANKED,
        True,
        "p2",
    )
    assert (films.profile_revision, films.model_version) == (7, 3)
    [request] = server.requests("Recommend")
    assert request.user_id == "ann"
    assert request.count == 2
    assert list(request.after) == [token(5)]
    assert (request.surface, request.domain, list(request.excluded_item_ids)) == ("home", "video", ["c"])
    comedy, brand, year = request.filter.all.filters
    assert comedy == Filter(text=TextFilter(field="category", values=["Comedy"]))
    assert brand.exclude.text == TextFilter(field="attributes.brand", values=["Acme", "Ajax"])
    assert year.range == RangeFilter(field="attributes.year", min=1990)
    assert not request.filter_text
    assert dict(request.experiments) == {"rank": "b"}


async def test_pages_continue_until_there_is_no_further_token(server: ScriptedServer, client: Client):
    server.play(
        "Recommend",
        answering(RecommendResponse(slate=slate("a", "b"), next_page_token="2")),
        answering(RecommendResponse(slate=slate("c"), next_page_token="3")),
        answering(RecommendResponse()),
    )
    pages = [page.item_ids async for page in client.pages("ann", count=2, after=[token(1)])]
    assert pages == [("a", "b"), ("c",)]
    requests = server.requests("Recommend")
    assert [request.page_token for request in requests] == ["", "2", "3"]
    assert [len(request.after) for request in requests] == [1, 0, 0]


async def test_a_retried_event_keeps_its_id(server: ScriptedServer, client: Client):
    server.play(
        "Record",
        failing(grpc.StatusCode.UNAVAILABLE),
        failing(grpc.StatusCode.UNAVAILABLE),
        answering(RecordResponse(token=token(9))),
    )
    assert await client.record("ann", "a", "view", value=0.5, position=0) == token(9)
    events: list[Interaction] = [request.interaction for request in server.requests("Record")]
    assert len(events) == 3
    assert len({event.event_id for event in events}) == 1
    assert len(events[0].event_id) == 36
    assert abs(events[0].event_time.ToMilliseconds() - time.time() * 1000) < 60_000
    assert (events[0].value, events[0].position, events[0].HasField("position")) == (0.5, 0, True)


async def test_the_client_waits_for_the_requested_delay(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
):
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    server.play(
        "Record",
        failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_info(3)),
        answering(RecordResponse(token=token(1))),
    )
    assert await client.record("ann", "a", "view") == token(1)
    [pause] = [seconds for seconds in slept if seconds > 1]
    assert pause >= 3


async def test_an_invalid_request_names_its_fields_and_is_not_retried(server: ScriptedServer, client: Client):
    details = bad_request(interaction__user_id="must not be blank", interaction__value="must be finite")
    server.play("Record", failing(grpc.StatusCode.INVALID_ARGUMENT, "the event is refused", details))
    with pytest.raises(InvalidRequest) as caught:
        await client.record("", "a", "view")
    assert [each.field for each in caught.value.violations] == ["interaction.user_id", "interaction.value"]
    assert "interaction.user_id: must not be blank" in str(caught.value)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(server.seen) == 1


async def test_a_missing_server_is_unavailable(server: ScriptedServer, client: Client):
    await server.stop()
    with pytest.raises(Unavailable):
        await client.recommend("ann", timeout=2)


async def test_cancelling_the_task_cancels_the_call_and_nothing_else(server: ScriptedServer, client: Client):
    server.play("Recommend", hang)
    task = asyncio.create_task(client.recommend("ann"))
    while not server.seen:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.play("Recommend", answering(RecommendResponse(slate=slate("a"))))
    assert (await client.recommend("ann")).item_ids == ("a",)


async def test_the_metadata_function_is_called_for_each_call(server: ScriptedServer):
    server.play("Recommend", answering(RecommendResponse()))
    tokens = iter(["one", "two"])
    async with Client(server.target, metadata=lambda: {"Authorization": next(tokens)}) as client:
        await client.recommend("ann")
        await client.recommend("ann")
    assert [each.metadata["authorization"] for each in server.seen] == ["one", "two"]


async def test_a_closed_client_says_so(server: ScriptedServer):
    client = Client(server.target)
    await client.close()
    await client.close()
    with pytest.raises(ClientClosed, match="make a new one"):
        await client.recommend("ann")


async def test_items_are_sent_in_requests_of_bounded_size(server: ScriptedServer, client: Client):
    async def put(request: catalog_service_pb2.PutItemsRequest, context: object) -> PutItemsResponse:
        return PutItemsResponse(token=token(int(request.items[0].item_id)))

    server.play("PutItems", put)
    items = [Item(item_id=str(n), description="x" * (4_000 if n < 1_500 else 10)) for n in range(2_600)]
    tokens = await client.put_items(items)
    requests = server.requests("PutItems")
    assert [item for request in requests for item in request.items] == items
    assert tokens == [token(int(request.items[0].item_id)) for request in requests]
    assert all(len(request.items) <= 1_000 and request.ByteSize() < 4 << 20 for request in requests)
    assert await client.put_items([]) == []


async def test_the_calls_for_profiles_and_items_return_their_answers(server: ScriptedServer, client: Client):
    profile = Profile(user_id="ann", revision=2)
    server.play("GetProfile", answering(GetProfileResponse(profile=profile, includes_events=True)))
    answer = await client.profile("ann", after=[token(3)])
    assert (answer.profile, answer.includes_events) == (profile, True)
    server.play("EraseProfile", answering(profile_service_pb2.EraseProfileResponse(token=token(4))))
    assert await client.erase("ann") == token(4)
    known = catalog_service_pb2.GetItemResponse(item=Item(item_id="a"), embedded=True, popularity=12)
    server.play("GetItem", answering(known), failing(grpc.StatusCode.NOT_FOUND, "no item of this id"))
    assert await client.item("a") == known
    with pytest.raises(NotFound):
        await client.item("b")
    withdrawn = catalog_service_pb2.WithdrawItemsResponse(token=token(5), unknown_item_ids=["b"])
    server.play("WithdrawItems", answering(withdrawn))
    assert await client.withdraw(["a", "b"]) == withdrawn
    similar = recommendation_service_pb2.SimilarItemsResponse(items=slate("b", "c").items)
    server.play("SimilarItems", answering(similar))
    assert [item.item_id for item in await client.similar("a", count=2)] == ["b", "c"]
    server.play("Record", answering(RecordResponse(token=token(6))))
    assert await client.undo("ann", "e1") == token(6)
    assert server.requests("Record")[0].interaction.undo.event_id == "e1"


async def test_a_batch_has_an_outcome_for_each_event_and_a_retry_repeats_their_ids(
    server: ScriptedServer, client: Client
):
    no = status(grpc.StatusCode.INVALID_ARGUMENT, "refused", bad_request(interaction__action="is unknown"))
    results = [RecordResult(token=token(3)), RecordResult(refused=no)]
    server.play(
        "BatchRecord",
        failing(grpc.StatusCode.UNAVAILABLE),
        answering(BatchRecordResponse(results=results)),
        answering(BatchRecordResponse(results=results[:1])),
    )
    named, nameless = interaction("ann", "a", "view"), interaction("ann", "b", "nonsense", event_id="")
    taken, refused = await client.record_batch(iter([named, nameless]))
    assert (taken.interaction, taken.token, taken.error) == (named, token(3), None)
    assert refused.token is None and isinstance(refused.error, InvalidRequest)
    assert refused.error.violations[0].field == "interaction.action"
    first, second = server.requests("BatchRecord")
    assert first == second and refused.interaction == first.interactions[1]
    assert len(first.interactions[1].event_id) == 36 and not nameless.event_id
    with pytest.raises(ServerError, match="2 events with 1 results"):
        await client.record_batch([named, nameless])
    assert await client.record_batch([]) == []


async def test_what_was_seen_is_recorded_together(server: ScriptedServer, client: Client):
    server.play("Record", answering(RecordResponse(token=token(6))))
    seen = await client.record_impression("ann", ("a", "b"), slate_id="s", first_position=20, surface="home")
    assert seen == token(6)
    event = server.requests("Record")[0].interaction
    assert event.impression == SlateImpression(item_ids=["a", "b"], first_position=20)
    assert (event.user_id, event.slate_id, event.surface, event.action) == ("ann", "s", "home", "")
    assert len(event.event_id) == 36 and event.HasField("event_time")


def test_an_event_has_the_facts_that_are_given():
    order = {"order_id": "o", "quantity": 2.0, "price": 9.5, "currency": "EUR"}
    bought = interaction("ann", "a", "purchase", session_id="v", context={"device": "phone"}, **order)
    assert (bought.order_id, bought.quantity, bought.price, bought.currency) == ("o", 2.0, 9.5, "EUR")
    assert (bought.session_id, dict(bought.context)) == ("v", {"device": "phone"})
    assert not bought.HasField("value") and not bought.HasField("position")
    assert undo("ann", "e1", event_id="u1").undo.event_id == "e1"
    assert not impression("ann", ["a"]).HasField("position")


async def test_an_export_is_joined_from_its_parts_and_retried_as_a_whole(
    server: ScriptedServer, client: Client
):
    def part(**fields: object) -> profile_service_pb2.ExportProfileResponse:
        return profile_service_pb2.ExportProfileResponse(**fields)

    first = part(profile=Profile(user_id="ann", history=[HistoryEntry(event_id="e1")]))
    more = part(profile=Profile(history=[HistoryEntry(event_id="e2")]))
    item = profile_service_pb2.TakenItem(taken_at=Timestamp(seconds=5), item_hash=2**63 + 1)
    taken = profile_service_pb2.TakenItems(items=[item])

    async def broken(request: object, context: grpc.aio.ServicerContext):
        yield first
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async def whole(request: object, context: object):
        for each in (first, more, part(taken=taken), part(taken=taken)):
            yield each

    server.play("ExportProfile", broken, whole)
    export = await client.export_profile("ann")
    assert [entry.event_id for entry in export.profile.history] == ["e1", "e2"]
    assert list(export.taken.items) == [item] * 2


def test_event_ids_ascend_and_never_repeat():
    ids = [new_event_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))
    assert all(each[14] == "7" and each[19] in "89ab" for each in ids)


def test_an_event_time_is_milliseconds_whatever_its_zone():
    moment = datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for given in (moment, elsewhere, 1_714_564_800_250):
        assert (
            interaction("ann", "a", "view", event_time=given).event_time.ToMilliseconds() == 1_714_564_800_250
        )
    with pytest.raises(ValueError, match="no time zone"):
        interaction("ann", "a", "view", event_time=moment.replace(tzinfo=None))


async def test_each_client_has_its_own_connections(server: ScriptedServer):
    async def peer(request: object, context: grpc.aio.ServicerContext) -> RecommendResponse:
        return RecommendResponse(slate=slate(context.peer()))

    server.play("Recommend", peer)
    async with Client(server.target) as one, Client(server.target) as other:
        peers = {(await client.recommend("ann")).item_ids for client in (one, other, one)}
    assert len(peers) == 2
