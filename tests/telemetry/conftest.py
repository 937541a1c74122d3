"""The whole system as processes, with so few items and so small a graph that every metric has data."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.settings import CatalogSettings
from configuration.settings import Settings
from local.stack import Stack
from tests.drills.world import ITEMS, fill
from tests.models.tiny_bundle import build


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Valkey, Triton, ingest and the server, filled with the drills' items."""
    bundle: Path = build(tmp_path_factory.mktemp("observability-bundle") / "tiny", ITEMS)
    settings = Settings(bundle=bundle, catalog=CatalogSettings(exact_below=100))
    running = Stack(settings, tmp_path_factory.mktemp("observability-stack"))
    asyncio.run(running.start())
    try:
        asyncio.run(fill(running))
        yield running
    finally:
        asyncio.run(running.stop())
