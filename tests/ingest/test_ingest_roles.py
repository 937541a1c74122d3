"""The readiness of a process's roles before it can do any of them."""

import asyncio
import json
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import CatalogSettings
from inference.settings import TritonSettings
from ingest.app import IngestConfiguration, Role, run
from ingest.settings import IngestSettings
from local.servers.ports import free_port
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from tests.ingest.world import get
from topics.settings import KafkaSettings


@pytest.mark.parametrize("role", list(Role))
async def test_the_interactions_role_has_its_series_before_the_catalogue_is_read(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alert RecstreamIngestMissing depends on this series. Other ingest processes must not silence it."""

    async def reads_for_ever(_: Catalog) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Catalog, "run", reads_for_ever)
    nothing = f"127.0.0.1:{free_port()}"
    configuration = IngestConfiguration(
        IngestSettings(health_port=0),
        KafkaSettings(bootstrap=nothing),
        StoreSettings(addresses=[nothing]),
        ProfileSettings(),
        CatalogSettings(),
        TritonSettings(address=nothing),
        tmp_path,
    )
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run(configuration, {role}, stop=stop, listening=listening.set_result))
    port = await asyncio.wait_for(listening, 30)
    status, body = await get(port, b"GET /readyz HTTP/1.1\r\n\r\n")
    not_ready = json.loads(body)["not_ready"]
    stop.set()
    await asyncio.wait_for(running, 30)
    assert status == 503 and "catalog" in not_ready
    assert ("interactions" in not_ready) == (role is Role.INTERACTIONS)
