"""Fixtures for the tests of ingest."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.servers.ports import free_port
from local.servers.valkey import EmbeddedValkey
from tests.ingest.world import make_world, world

__all__ = ["make_world", "own_valkey", "world"]


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Valkey server that a test may kill."""
    server = EmbeddedValkey(tmp_path, free_port())
    await server.start()
    yield server
    server.kill()
