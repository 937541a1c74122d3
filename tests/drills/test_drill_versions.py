"""A second version of the model is published and rolled back while events flow and streams are open."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from catalog.version_watcher import read_versions
from configuration.settings import Settings
from inference.repository.repository import versions
from inference.version_routing import routing_of
from ingest.consuming.group_lag import wait_caught_up
from ingest.consuming.groups import interactions_group
from ingest.verify.store_check import check_store
from local.stack import Stack
from profiles.store.store import ProfileStore
from ranking.settings import RankingSettings
from recstream.client import Client, Recommendations, Tier
from rollout.cleanup import vector_keys
from rollout.migration_progress import migration_progress
from rollout.publisher import Publisher
from server.settings import ServerSettings
from tests.drills.world import ITEMS, Events, fill, in_background
from tests.models.tiny_bundle import build

USERS = tuple(f"mover-{number}" for number in range(40))
MIDDLE = 2.75  # In the scale of ratings: versions 1 and 3 are always below it, and version 2 above.


@dataclass
class Seen:
    """Every list that any user got."""

    lists: int = 0
    wrong: list[str] = field(default_factory=list)
    newest: dict[str, int] = field(default_factory=dict)
    versions: set[int] = field(default_factory=set)

    def look(self, user: str, answer: Recommendations, streamed: bool) -> None:
        self.lists += 1
        version = answer.model_version
        if answer.tier is not Tier.RANKED or answer.profile_unavailable:
            self.wrong.append(f"{user}: tier {answer.tier.name}")
            return
        self.versions.add(version)
        high = {item.predicted_rating > MIDDLE for item in answer if item.predicted_rating}
        if high != {version == 2}:
            self.wrong.append(f"{user}: version {version} with ratings of {high}")
        if streamed:
            self.newest[user] = version


@asynccontextmanager
async def publisher(stack: Stack) -> AsyncIterator[Publisher]:
    async with Publisher(stack.settings) as made:
        yield made


@pytest.fixture(scope="session")
def drill_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = build(tmp_path_factory.mktemp("first") / "tiny", ITEMS, high_ratings=False)
    return folder


@pytest.fixture(scope="module")
def stack(drill_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Like the drills' own stack, with so much time for each list that even a busy machine keeps the tier."""
    settings = Settings(
        bundle=drill_bundle,
        ranking=RankingSettings(model_timeout_ms=3_000),
        server=ServerSettings(stream_budget_ms=8_000, profile_wait_ms=3_000),
    )
    running = Stack(settings, tmp_path_factory.mktemp("stack"))
    asyncio.run(running.start())
    try:
        asyncio.run(fill(running))
        yield running
    finally:
        asyncio.run(running.stop())


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """Version 2, of another width and seed, and version 3, of the width of version 1."""
    folder = tmp_path_factory.mktemp("others")
    return (
        build(folder / "second", ITEMS, width=24, version=2, seed=5, high_ratings=True),
        build(folder / "third", ITEMS, version=3, seed=9, high_ratings=False),
    )


@pytest.mark.drill
@pytest.mark.timeout(400)
async def test_no_list_fails_or_mixes_versions_through_publishing_and_rollback(
    stack: Stack, others: Sequence[Path]
) -> None:
    seen, rng = Seen(), random.Random(3)
    second, third = others

    async def hold(client: Client, user: str, deltas: bool) -> None:
        async for answer in client.stream(user, count=10, deltas=deltas, model_outputs=True):
            seen.look(user, answer, True)

    async def ask(client: Client) -> None:
        while True:
            user = rng.choice((*USERS, f"stranger-{rng.randrange(1_000_000)}"))
            seen.look(user, await client.recommend(user, count=10, model_outputs=True, timeout=10), False)
            await asyncio.sleep(0.01)

    async def act(events: Events) -> None:
        while True:
            await events.send(events.new(rng.choice(USERS), rng.choice(ITEMS)))
            await asyncio.sleep(0.03)

    async def answered_by(version: int) -> None:
        async with asyncio.timeout(60):
            while {seen.newest.get(user) for user in USERS} != {version}:
                await asyncio.sleep(0.1)

    store = await ProfileStore.connect(stack.settings.store)
    async with Client(stack.address("server")) as client, Events.to(stack) as events:
        for user in USERS:
            event_id = await events.send(events.new(user, rng.choice(ITEMS)))
            first = await client.recommend(user, count=10, after_event_ids=[event_id], timeout=20)
            assert first.model_version == 1
        work = [hold(client, user, number % 2 == 0) for number, user in enumerate(USERS)]
        async with in_background(*work, ask(client), act(events)):
            await answered_by(1)
            async with publisher(stack) as publishing:
                await publishing.prepare(second, force=False)
                await publishing.set_share(0.3)
                await publishing.wait_migrated()
                chosen = {user: routing_of(publishing.record).chosen(user) for user in USERS}
                assert {each.version for each in chosen.values() if each} == {1, 2}
                async with asyncio.timeout(60):
                    while any(seen.newest.get(u) != m.version for u, m in chosen.items() if m):
                        await asyncio.sleep(0.1)
                await publishing.set_share(1)
                await publishing.wait_migrated()
                await publishing.clean_up()
            await answered_by(2)
            moved = await migration_progress(store, routing_of(await read_versions(stack.settings.kafka)))
            assert moved.remaining == 0 and set(moved.answered_by) == {2} and moved.profiles >= len(USERS)
            async with publisher(stack) as publishing:
                await publishing.roll_back()
            await answered_by(1)
            # The rolled-back version makes room for a third one, which shows only in the lists.
            async with publisher(stack) as publishing:
                await publishing.prepare(third, force=False)
                assert publishing.live == [1, 3]
                await publishing.set_share(1)
                await publishing.wait_migrated()
                await publishing.clean_up()
            await answered_by(3)
        assert not seen.wrong, f"{len(seen.wrong)} of {seen.lists}: {seen.wrong[:5]}"
        assert seen.versions == {1, 2, 3} and seen.lists > 500
        kafka = stack.settings.kafka
        await wait_caught_up(kafka, interactions_group(kafka), events.topic, seconds=60)
    assert await vector_keys(kafka, [1, 3]) == []
    assert versions(stack.folder / "models") == [1, 3]
    loaded = (stack.folder / "triton" / "triton.log").read_text().count("ModelInstanceInitialize: ranker_0_0")
    assert loaded == 3, "each version once: a version that serves is not loaded again for another one"
    assert sorted(path.name for path in (stack.folder / "bundles").iterdir()) == ["1", "3"]
    report = await check_store(stack.settings)
    assert report.equal and report.states_compared >= len(USERS), report
    await store.close()
