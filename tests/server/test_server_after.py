"""Read your writes: within its deadline, an answer includes the events or says that it does not."""

import asyncio
import random

import grpc
import pytest

from profiles.folding.events import Position
from ranking.settings import RankingSettings
from recstream.v1 import interaction_pb2, interaction_service_pb2, profile_service_pb2, slate_pb2
from recstream.v1 import recommendation_service_pb2 as rpc
from tests.server.world import event, world
from topics.producer import start_producer

TRIALS = 200


@pytest.mark.drill
async def test_answers_are_in_time_and_never_claim_events_that_they_lack(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        producer = await start_producer(around.kafka)
        topic = around.kafka.topics.interactions
        chance = random.Random(5)
        stop = asyncio.Event()

        async def stall() -> None:
            while not stop.is_set():
                await asyncio.sleep(chance.uniform(0.02, 0.3))
                around.ingest.stalled = True
                await asyncio.sleep(chance.uniform(0.2, 0.6))
                around.ingest.stalled = False

        async def written(user: str, name: str, partition: int) -> interaction_pb2.EventToken:
            """Writes straight to a partition, so that the user has events on both, and sometimes writes twice."""
            value = event(user, f"item-{chance.randrange(100)}", "view", event_id=name).SerializeToString()
            for _ in range(chance.choice((1, 1, 1, 2))):
                where = await producer.send_and_wait(topic, value, user.encode(), partition=partition)
            state = (
                await around.interactions.Record(
                    interaction_service_pb2.RecordRequest(interaction=event(user, "item-1", "view")),
                    timeout=10,
                )
            ).token
            return interaction_pb2.EventToken(
                topic_id=state.topic_id, partition=where.partition, offset=where.offset
            )

        async def trial(i: int) -> bool:
            user = f"user-{i % 10}"
            tokens = [await written(user, f"e{i}", i % 2), await written(user, f"f{i}", (i + 1) % 2)]
            limit = chance.choice((0.3, 0.6, 1.0))
            if i % 2:
                answer = await around.recommendations.Recommend(
                    rpc.RecommendRequest(user_id=user, after=tokens, count=5), timeout=limit
                )
                included = answer.includes_events
            else:
                try:
                    profile = await around.profiles.GetProfile(
                        profile_service_pb2.GetProfileRequest(user_id=user, after=tokens), timeout=limit
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    # Unlike a list, a profile that cannot be read in time has no fallback.
                    return False
                included = profile.includes_events
                marks = {(w.topic_id, w.partition): w.offset for w in profile.profile.watermarks}
                has = all(marks.get((t.topic_id, t.partition), -1) >= t.offset for t in tokens)
                assert included == has
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


async def test_a_token_of_another_topic_never_matches(kafka, valkey, prefix) -> None:
    async with world(kafka, valkey, prefix) as around:
        token = (
            await around.interactions.Record(
                interaction_service_pb2.RecordRequest(interaction=event("ann", "item-1")), timeout=10
            )
        ).token
        foreign = interaction_pb2.EventToken(topic_id=b"x" * 16, partition=token.partition, offset=0)
        for after, included in (([token], True), ([token, foreign], False)):
            answer = await around.recommendations.Recommend(
                rpc.RecommendRequest(user_id="ann", after=after), timeout=1
            )
            assert answer.includes_events is included and len(answer.slate.items) == 20


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
