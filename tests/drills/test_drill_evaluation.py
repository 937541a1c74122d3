"""`recstream evaluate` measures the lists that the product makes: the same events, through Kafka and in memory."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from catalog.items.items import from_proto
from configuration.settings import Settings
from evaluation.data import Data, list_settings
from evaluation.method import EvalQueries
from evaluation.methods.bundle_model import bundle_model
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.lists import LENGTH, RankedLists
from evaluation.protocols.split import Excluded, Split
from inference.bundle.bundle import read
from ingest.consuming.group_lag import wait_caught_up
from ingest.consuming.groups import interactions_group, statistics_group
from local.stack import Stack
from models.data.events import Events, ItemText, index_events
from profiles.actions import Actions
from profiles.times import timestamp
from readers.messages import item_records
from recstream.client import Client, RecstreamError, Tier
from recstream.v1.interaction_pb2 import Interaction
from recstream.v1.item_pb2 import Item
from tests.evaluation.world import DAY_MS, EventRow, Rows
from tests.models.tiny_bundle import build
from topics.names import Topics
from topics.producer import start_producer
from topics.send_all import send_all

ITEMS = tuple(f"item-{number:03}" for number in range(120))
USERS = tuple(f"user-{number:02}" for number in range(24))
SETTINGS = Settings.model_validate(
    {
        "profiles": {"history": 8, "refold_every": 4},
        # Fewer candidates than items, so that a list depends on every source. Popularity is never older than the
        # events.
        # older than their events.
        "ranking": {
            "default": {"nearest": 12, "similar": 9, "popular": 25, "trending": 10, "fresh": 5},
            "surfaces": {
                "evaluation": {"trending": 0, "fresh": 0, "exploration_share": 0, "category_share": 1}
            },
        },
        "catalog": {"popularity_seconds": 0},
        "server": {"profile_wait_ms": 10_000},
    }
)


def catalogue(now_ms: int) -> list[Item]:
    """Returns items: some are new, some are old, some have only an id. There are four categories, one of them large."""
    items = []
    for number, item_id in enumerate(ITEMS[:110]):
        # No two are equally new: which of two comes first would depend on which was read first.
        age = DAY_MS * (number % 10 if number % 4 == 0 else 30 + number) + 1000 * number
        category = "common" if number % 2 else f"rare-{number % 3}"
        items.append(
            Item(
                item_id=item_id,
                title=f"film {number % 7} of the {number // 7} song",
                categories=[category],
                published_at=timestamp(now_ms - age),
            )
        )
    return [*items, *(Item(item_id=item_id) for item_id in ITEMS[110:])]


def interactions(now_ms: int) -> list[EventRow]:
    """Returns a month of events in which popularity changes. No two items are equally popular, some events share a
    time, users have between zero and forty events, and some act on an item twice."""
    rng = np.random.default_rng(5)
    rows: list[EventRow] = []
    for place, item_id in enumerate(ITEMS[:40]):
        rows += [
            (f"crowd-{other}", item_id, "like", now_ms - (40 + place) * DAY_MS, np.nan)
            for other in range(place)
        ]
    for user, user_id in enumerate(USERS[1:], start=1):
        at = now_ms - 30 * DAY_MS
        for _ in range(int(rng.integers(1, 41))):
            at = min(at + int(rng.integers(0, 3)) * DAY_MS // 3, now_ms - 60_000)
            item_id = ITEMS[(user * 5 + int(rng.geometric(0.1))) % len(ITEMS)]
            action, value = [("like", np.nan), ("view", np.nan), ("rate", float(rng.integers(1, 6)))][
                int(rng.integers(3))
            ]
            rows.append((user_id, item_id, action, at, value))
    return sorted(rows, key=lambda row: row[3])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = build(tmp_path_factory.mktemp("bundle") / "tiny", ITEMS, history=8, refold_every=4)
    return folder


@pytest.fixture(scope="module")
def data() -> Data:
    now_ms = int(time.time() * 1000)
    items = [from_proto(item) for item in catalogue(now_ms)]
    texts = [ItemText(item.item_id, item.text(()), item.published_at_ms) for item in items]
    known = index_events([Rows(interactions(now_ms))], texts, Actions(SETTINGS.profiles.actions))
    return Data(known, texts, items)


@pytest.fixture(scope="module")
def stack(bundle: Path, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The product with these data and no other."""
    running = Stack(SETTINGS.model_copy(update={"bundle": bundle}), tmp_path_factory.mktemp("stack"))
    asyncio.run(running.start())
    try:
        asyncio.run(tell(running, data))
        yield running
    finally:
        asyncio.run(running.stop())


async def tell(stack: Stack, data: Data) -> None:
    """Sends items and events, and waits until all are embedded, folded and counted."""
    kafka = stack.settings.kafka
    topics = Topics(kafka.topic_prefix)
    producer = await start_producer(kafka)
    try:
        await send_all(producer, topics.items, item_records(item.to_proto() for item in data.catalogue))
        events = (interaction(data.known, row) for row in range(len(data.known)))
        await send_all(
            producer,
            topics.interactions,
            ((event.user_id.encode(), event.SerializeToString()) for event in events),
        )
    finally:
        await producer.stop()
    for group in (interactions_group(kafka), statistics_group(kafka)):
        await wait_caught_up(kafka, group, topics.interactions, seconds=120)
    positives = np.bincount(data.known.items[data.known.positive], minlength=len(ITEMS)).tolist()
    async with Client(stack.address("server")) as client, asyncio.timeout(120):
        for item_id, count in zip(data.known.item_ids, positives, strict=True):
            while not await arrived(client, item_id, count):
                await asyncio.sleep(0.05)


async def arrived(client: Client, item_id: str, positives: int) -> bool:
    try:
        item = await client.item(item_id)
    except RecstreamError:  # The server has not read the item yet.
        return False
    return item.embedded and item.popularity == positives


def interaction(known: Events, row: int) -> Interaction:
    """Returns an event as a backend sends it. Its id is its row, because profiles order events of the same time by
    id."""
    message = Interaction(
        event_id=f"{row:012}",
        user_id=known.user_ids[known.users[row]],
        item_id=known.item_ids[known.items[row]],
        action=known.action_names[known.actions[row]],
        event_time=timestamp(int(known.time_ms[row])),
    )
    if not np.isnan(known.values[row]):
        message.value = float(str(known.values[row]))
    return message


def query(known: Events, user_id: str, now_ms: int) -> EvalQueries:
    """Returns a query for this user's list now, after all events."""
    if user_id not in known.user_ids:
        # For a user without events any user will do, without a history.
        return EvalQueries(np.array([0]), [np.zeros(0, np.int64)], np.array([now_ms]), np.array([len(known)]))
    user = known.user_ids.index(user_id)
    return EvalQueries(np.array([user]), [known.by_user()[user]], np.array([now_ms]), np.array([len(known)]))


@pytest.fixture(scope="module")
def model(bundle: Path, data: Data) -> EvaluatedModel:
    return bundle_model(read(bundle), data.known.item_ids, data.items)


@pytest.mark.drill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("surface", ["default", "evaluation"])
async def test_the_server_makes_the_lists_that_the_evaluation_measures(
    stack: Stack, data: Data, model: EvaluatedModel, surface: str
) -> None:
    known = data.known
    everything = Split(
        "next-item", "test", known, np.ones(len(known), np.bool_), query(known, USERS[1], 0), [np.array([0])],
        Excluded(),
    )  # fmt: skip
    method = RankedLists(everything, data.catalogue, model, list_settings(SETTINGS, surface))
    differing: list[str] = []
    async with Client(stack.address("server")) as client:
        for user_id in USERS:
            now_ms = int(time.time() * 1000)
            answer = await client.recommend(user_id, surface=surface, timeout=30)
            assert answer.tier is Tier.RANKED and len(answer.item_ids) == LENGTH
            scores = await asyncio.to_thread(method.scores, query(known, user_id, now_ms))
            order = np.argsort(-scores[0])[:LENGTH]
            judged = [known.item_ids[index] for index in order.tolist()]
            if list(answer.item_ids) != judged:
                differing.append(f"{user_id}: {answer.item_ids} and {judged}")
    assert not differing, "\n".join(differing)


@pytest.mark.drill
@pytest.mark.timeout(600)
async def test_items_are_ranked_in_the_order_of_the_list_that_has_them(stack: Stack) -> None:
    """The surface `evaluation` has neither caps nor exploration. `default` has both, but moves no given items."""
    rng = np.random.default_rng(1)
    async with Client(stack.address("server")) as client:
        for user_id in USERS:
            listed = await client.recommend(user_id, count=60, surface="evaluation", timeout=30)
            assert listed.tier is Tier.RANKED
            for surface in ("evaluation", "default"):
                item_ids = rng.permutation([*listed.item_ids, "unknown"]).tolist()
                ranked = await client.rank(user_id, item_ids, surface=surface, timeout=30)
                assert ranked.tier is Tier.RANKED and ranked.unknown_item_ids == ("unknown",)
                assert ranked.item_ids == listed.item_ids, user_id
