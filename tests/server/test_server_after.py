"""Read your writes: within its deadline, an answer includes the events or says that it does not."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from profiles.folding.events import Position
from ranking.settings import RankingSettings
from recstream.v1 import (
    catalog_service_pb2,
    interaction_service_pb2,
    item_pb2,
    profile_service_pb2,
    slate_pb2,
)
from recstream.v1 import recommendation_service_pb2 as rpc
from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from server.app import Server
from server.requests.status import DETAILS_KEY, unpack
from tests.server.streams import record
from tests.server.world import ITEMS, World, event, eventually, world
from topics.ids import topic_ids
from topics.producer import start_producer

TRIALS = 200


@pytest.mark.drill
async def test_answers_are_in_time_and_never_claim_events_that_they_lack(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        producer = await start_producer(around.kafka)
        topic = around.kafka.topics.interactions
        topic_id = (await topic_ids(around.kafka, [topic]))[topic]
        chance = random.Random(5)
        stop = asyncio.Event()

        async def stall() -> None:
            while not stop.is_set():
                await asyncio.sleep(chance.uniform(0.02, 0.3))
                around.ingest.stalled = True
                await asyncio.sleep(chance.uniform(0.2, 0.6))
                around.ingest.stalled = False

        async def written(user: str, name: str, partition: int) -> str:
            """Writes straight to a partition, so that the user has events on both, and sometimes writes twice."""
            value = event(user, f"item-{chance.randrange(100)}", "view", event_id=name).SerializeToString()
            for _ in range(chance.choice((1, 1, 1, 2))):
                where = await producer.send_and_wait(topic, value, user.encode(), partition=partition)
            return around.tokens.of_events(user, [Position(topic_id, where.partition, where.offset)])

        async def trial(i: int) -> bool:
            user = f"user-{i % 10}"
            names = [f"e{i}", f"f{i}"]
            tokens = [await written(user, name, (i + at) % 2) for at, name in enumerate(names)]
            # Half of the time one of the events is named by its id.
            named = {"after": tokens[:1], "after_event_ids": names[1:]} if i % 3 else {"after": tokens}
            limit = chance.choice((0.3, 0.6, 1.0))
            if i % 2:
                answer = await around.recommendations.Recommend(
                    rpc.RecommendRequest(user_id=user, count=5, **named), timeout=limit
                )
                included = answer.includes_events
            else:
                try:
                    profile = await around.profiles.GetProfile(
                        profile_service_pb2.GetProfileRequest(user_id=user, **named), timeout=limit
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    # Unlike a list, a profile that cannot be read in time has no fallback.
                    return False
                included = profile.includes_events
                has = set(names) <= {entry.event_id for entry in profile.profile.history}
                # An event that was written twice may be there before its second record is applied.
                assert has or not included
            return included

        stalling = asyncio.create_task(stall())
        included: list[bool] = []
        try:
            for start in range(0, TRIALS, 4):
                included += await asyncio.gather(*(trial(i) for i in range(start, start + 4)))
        finally:
            stop.set()
            await stalling
            await producer.stop()
        print(f"{included.count(True)} included, {included.count(False)} not")
        assert True in included and len(included) == TRIALS


async def test_a_token_that_can_never_be_met_is_refused_at_once(kafka, valkey, prefix) -> None:
    hour = {"default_deadline_ms": 3_600_000, "max_deadline_ms": 3_600_000}
    async with world(kafka, valkey, prefix, **hour) as around:
        token = await record(around, "ann", "item-1")
        answer = await around.recommendations.Recommend(
            rpc.RecommendRequest(user_id="ann", after=[token]), timeout=30
        )
        assert answer.includes_events and len(answer.slate.items) == 20
        foreign = around.tokens.of_events("ann", [Position(b"x" * 16, 0, 0)])
        changed = token[:-1] + ("A" if token[-1] != "A" else "Q")
        page = answer.next_page_token
        for bad, why in ((foreign, "recreated"), (changed, "not a token|damaged"), (page, "a page of")):
            for request in (
                rpc.RecommendRequest(user_id="ann", after=[token, bad]),
                rpc.RankRequest(user_id="ann", item_ids=["item-1"], after=[token, bad]),
                profile_service_pb2.GetProfileRequest(user_id="ann", after=[token, bad]),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=why) as caught:
                    await ask(around, request)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                status = status_pb2.Status.FromString(
                    dict(caught.value.trailing_metadata() or ())[DETAILS_KEY]
                )
                info, fields = (
                    unpack(status, error_details_pb2.ErrorInfo),
                    unpack(status, error_details_pb2.BadRequest),
                )
                assert isinstance(info, error_details_pb2.ErrorInfo) and info.reason == "INVALID_TOKEN"
                assert info.metadata == {"field": "after[1]"}
                assert isinstance(fields, error_details_pb2.BadRequest)
                assert [violation.field for violation in fields.field_violations] == ["after[1]"]


def ask(around: World, request):
    """Calls the method of a request, for up to half a minute."""
    if isinstance(request, profile_service_pb2.GetProfileRequest):
        return around.profiles.GetProfile(request, timeout=30)
    method = (
        around.recommendations.Rank
        if isinstance(request, rpc.RankRequest)
        else around.recommendations.Recommend
    )
    return method(request, timeout=30)


async def test_an_event_that_its_caller_published_is_waited_for_by_its_id(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        producer = await start_producer(around.kafka)
        try:
            for number, sent in enumerate(
                (event("ann", "item-1", event_id="e0"), event("ann", "item-2", "impression", event_id="e1"))
            ):
                topic = around.kafka.topics.interactions
                await producer.send_and_wait(topic, sent.SerializeToString(), b"ann")
                answer = await around.recommendations.Recommend(
                    rpc.RecommendRequest(user_id="ann", count=100, after_event_ids=[f"e{number}"]), timeout=30
                )
                assert answer.includes_events
                assert "item-1" not in {item.item_id for item in answer.slate.items}
        finally:
            await producer.stop()
        for request in (
            rpc.RecommendRequest(user_id="ann", after_event_ids=["e0", "never"]),
            rpc.RankRequest(user_id="ann", item_ids=["item-1"], after_event_ids=["e0", "never"]),
            rpc.RecommendRequest(user_id="bob", after_event_ids=["e0"]),
        ):
            method = (
                around.recommendations.Rank
                if isinstance(request, rpc.RankRequest)
                else around.recommendations.Recommend
            )
            answer = await method(request, timeout=1)
            assert not answer.includes_events and answer.slate.items


async def test_an_id_in_after_event_ids_is_checked(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        for ids, field in (
            (["e"] * 33, "after_event_ids"),
            (["e", " "], "after_event_ids[1]"),
            (["e" * 129], "after_event_ids[0]"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(around, rpc.RecommendRequest(user_id="ann", after_event_ids=ids))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert field in (caught.value.details() or "")


async def test_what_one_server_wrote_is_in_the_answer_of_another_that_has_its_token(
    kafka, valkey, prefix
) -> None:
    keys = "1:" + "c2VjcmV0IHNlY3JldCBzZWNyZXQ="
    async with world(kafka, valkey, prefix, token_keys=keys) as around, other(around) as second:
        for number in range(5):
            item_id = f"new-{number}"
            put = await around.catalog.PutItems(
                catalog_service_pb2.PutItemsRequest(items=[item_pb2.Item(item_id=item_id, title="New")]),
                timeout=20,
            )
            request = rpc.RankRequest(user_id="ann", item_ids=[item_id], after=[put.token])
            answer = await second.Rank(request, timeout=30)
            assert answer.includes_events and not answer.unknown_item_ids
        gone = answer = await second.Recommend(rpc.RecommendRequest(user_id="ann", count=1), timeout=30)
        item_id = gone.slate.items[0].item_id
        for call, kind in (("WithdrawItems", "Withdraw"), ("DeleteItems", "Delete")):
            changed = await getattr(around.catalog, call)(
                getattr(catalog_service_pb2, f"{kind}ItemsRequest")(item_ids=[item_id]), timeout=20
            )
            request = rpc.RecommendRequest(user_id="ann", count=len(ITEMS), after=[changed.token])
            answer = await second.Recommend(request, timeout=30)
            assert answer.includes_events and item_id not in {item.item_id for item in answer.slate.items}
        token = await record(around, "ann", "item-7", event_id="e7")
        mixed = rpc.RecommendRequest(
            user_id="ann", count=100, after=[token, changed.token], after_event_ids=["e7"]
        )
        answer = await second.Recommend(mixed, timeout=30)
        assert answer.includes_events and "item-7" not in {item.item_id for item in answer.slate.items}
        first = await around.recommendations.Recommend(
            rpc.RecommendRequest(user_id="ann", count=3), timeout=30
        )
        page = rpc.RecommendRequest(user_id="ann", count=3, page_token=first.next_page_token)
        assert not {item.item_id for item in first.slate.items} & {
            item.item_id for item in (await second.Recommend(page, timeout=30)).slate.items
        }


async def test_a_list_that_lacks_an_item_says_so(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        # Nothing is read from Kafka from now on.
        around.server.catalog._reader._take = never
        put = await around.catalog.PutItems(
            catalog_service_pb2.PutItemsRequest(items=[item_pb2.Item(item_id="new", title="New")]), timeout=20
        )
        request = rpc.RecommendRequest(user_id="ann", after=[put.token])
        answer = await around.recommendations.Recommend(request, timeout=1)
        assert not answer.includes_events and answer.slate.items


async def never(*_: object) -> None:
    await asyncio.Event().wait()


async def test_a_server_with_a_key_of_its_own_refuses_the_tokens_of_another(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around, other(around) as second:
        token = await record(around, "ann", "item-1")
        with pytest.raises(grpc.aio.AioRpcError, match="other servers") as caught:
            await second.Recommend(rpc.RecommendRequest(user_id="ann", after=[token]), timeout=30)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@asynccontextmanager
async def other(around: World) -> AsyncIterator[RecommendationServiceStub]:
    """Starts a second server beside the first one, and returns a stub of it."""
    server = Server(around.server.config, around.model)
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)])
    try:
        await eventually(lambda: not server.health.not_ready)
        yield RecommendationServiceStub(channel)
    finally:
        await channel.close()
        await server.close()


@pytest.mark.parametrize("down", ["model", "hanging model"])
async def test_deadlines_are_kept_without_the_model(kafka, valkey, prefix, down: str) -> None:
    # Only the deadline bounds the wait for the model. It leaves a busy machine a second to answer.
    waiting = RankingSettings(model_timeout_ms=60_000)
    async with world(kafka, valkey, prefix, ranking=waiting, answer_reserve_ms=1_000) as around:
        await around.interactions.Record(
            interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1")), timeout=10
        )
        if down == "model":
            around.model.down = True
        else:
            around.model.seconds = 3600.0
        for _ in range(2):
            answer = await around.recommendations.Recommend(rpc.RecommendRequest(user_id="ann"), timeout=3)
            assert len(answer.slate.items) == 20 and answer.slate.tier == slate_pb2.TIER_POPULAR


def test_a_position_is_in_no_profile_of_another_topic() -> None:
    from profiles.profile import Profile

    profile = Profile("u", watermarks={(b"a" * 16, 0): 5})
    assert profile.includes(Position(b"a" * 16, 0, 5)) and not profile.includes(Position(b"b" * 16, 0, 0))
