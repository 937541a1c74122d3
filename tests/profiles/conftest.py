"""A store and a subscriber on real servers, standalone and in a cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from local.servers.valkey import EmbeddedValkey
from local.servers.valkey_cluster import EmbeddedValkeyCluster
from profiles.announcements.subscriber import AnnouncementSubscriber
from profiles.settings import StoreSettings
from profiles.store.store import ProfileStore
from telemetry.background import run_background

GENEROUS_SECONDS = 60.0


@asynccontextmanager
async def running(subscriber: AnnouncementSubscriber) -> AsyncIterator[None]:
    """Runs the subscriber's background tasks while inside, as a server does."""
    tasks = asyncio.create_task(run_background(subscriber.background()))
    try:
        yield
    finally:
        tasks.cancel()
        await asyncio.wait({tasks})


async def until(true: Callable[[], bool]) -> None:
    """Waits until the claim is true, for a generous time."""
    deadline = monotonic() + GENEROUS_SECONDS
    while not true():
        assert monotonic() < deadline, "it did not become true"
        await asyncio.sleep(0.01)


def settings_of(server: EmbeddedValkey, prefix: str, **more: object) -> StoreSettings:
    """Settings for this server. Timeouts are long, because the machine may be busy."""
    fields: dict[str, object] = {"request_timeout_ms": 5000, "key_prefix": prefix}
    return StoreSettings.model_validate({"addresses": (server.address,)} | fields | more)


@pytest.fixture(params=["standalone", "cluster"])
def store_settings(request: pytest.FixtureRequest, prefix: str) -> StoreSettings:
    """Settings for a single server, and in a second round for a cluster."""
    if request.param == "standalone":
        server: EmbeddedValkey = request.getfixturevalue("valkey")
        return settings_of(server, prefix)
    cluster: EmbeddedValkeyCluster = request.getfixturevalue("valkey_cluster")
    addresses = tuple(f"{host}:{port}" for host, port in cluster.addresses)
    return StoreSettings(addresses=addresses, cluster=True, key_prefix=prefix, request_timeout_ms=5000)


@pytest.fixture
async def store(store_settings: StoreSettings) -> AsyncIterator[ProfileStore]:
    store = await ProfileStore.connect(store_settings)
    yield store
    await store.close()


@pytest.fixture
async def subscriber(store_settings: StoreSettings) -> AsyncIterator[AnnouncementSubscriber]:
    subscriber = await AnnouncementSubscriber.connect(store_settings)
    async with running(subscriber):
        yield subscriber
    await subscriber.close()
