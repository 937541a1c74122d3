"""The whole system as processes, for drills."""

import asyncio
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from configuration.settings import Settings
from local.stack import Stack
from tests.drills.world import ITEMS, fill
from tests.models.tiny_bundle import build


@pytest.fixture(scope="session")
def drill_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that knows the drills' items."""
    folder: Path = build(tmp_path_factory.mktemp("drill-bundle") / "tiny", ITEMS)
    return folder


@pytest.fixture(scope="module")
def stack(drill_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Valkey, Triton, ingest and the server, filled with the drills' items. Each module has its own stack,
    because drills leave traces. Nothing restarts parts that die."""
    settings = Settings(bundle=drill_bundle)
    running = Stack(settings, tmp_path_factory.mktemp("stack"))
    # Drills have deadlines of tens of milliseconds, so the collector must not traverse objects of earlier tests.
    gc.collect()
    gc.freeze()
    asyncio.run(running.start())
    try:
        asyncio.run(fill(running))
        yield running
    finally:
        if os.environ.get("RECSTREAM_KEEP_LOGS"):
            print(f"logs in {running.folder}")
        asyncio.run(running.stop())
