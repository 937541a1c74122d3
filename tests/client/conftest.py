"""The scripted server, here and elsewhere, and a client of it, with pauses short enough for tests."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from recstream.client import Backoff, Client
from tests.client.elsewhere import Elsewhere, serving
from tests.client.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[2]
QUICK = Backoff(initial=0.01, maximum=0.05)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A running server."""
    scripted = ScriptedServer()
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    """A client of the server."""
    async with Client(server.target, backoff=QUICK) as connected:
        yield connected


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """A running server on an event loop of its own."""
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def compiled() -> Path:
    """The folder of the TypeScript client, after generation and compilation."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("node and npm are not there, and in CI the TypeScript client must be tested")
        pytest.skip("node and npm are not there: the TypeScript client is tested where node 20 is installed")
    done = subprocess.run(["make", "typescript"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "protos" / "typescript" / "dist"
