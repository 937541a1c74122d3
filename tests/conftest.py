"""Real servers for the tests: each starts once a session, on a free port, in a temporary folder."""

import asyncio
import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

# The tests' matrices are tiny: threads that wait for each other cost more than they compute, in every process. Read by
# the libraries when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No broker of a test lives long enough to earn the time of the optimizing compiler: it starts in half the time.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# First: usearch loads its kernels for the whole process to see, and onnxruntime crashes when it is loaded after
# them. Only tests have both in one process.
import onnxruntime  # noqa: F401
import pytest
from hypothesis import settings

from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.triton import EmbeddedTriton
from local.servers.valkey import EmbeddedValkey
from local.servers.valkey_cluster import EmbeddedValkeyCluster

# No example is timed: the machine may be busy. `make test-all` draws more of them.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# The servers start in synchronous fixtures, outside any test's event loop: the loop that starts a server need
# not be the one that stops it, and the main thread, which starts them, lives as long as the session.


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A test leaves no RECSTREAM_ variable in the environment and no other working directory: the next one would read
    them. The first fixture of each test, so that those which put things back have done so before it looks."""
    variables, folder = _recstream_variables(), Path.cwd()
    yield
    left = []
    now = _recstream_variables()
    for name in sorted(variables.keys() | now.keys()):
        if variables.get(name) != now.get(name):
            left.append(f"{name} was {variables.get(name)!r} and is {now.get(name)!r}")
            _set_variable(name, variables.get(name))
    if Path.cwd() != folder:
        left.append(f"the working directory was {folder} and is {Path.cwd()}")
        os.chdir(folder)
    if left:
        pytest.fail("the test left behind: " + "; ".join(left), pytrace=False)


def _recstream_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RECSTREAM_")}


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@pytest.fixture(scope="module")
def collected() -> Iterator[None]:
    """For modules in which producers are fenced. These leave failures that nobody asks for, and they are logged when
    they are collected: here, and not within a later test's import, where CPython 3.11 takes it for a fault of the
    parser."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A Kafka node; `.bootstrap` is its address. Topics are not made by first use."""
    server = EmbeddedKafka(tmp_path_factory.mktemp("kafka"), free_port())
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey server; `.host` and `.port`."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"), free_port())
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkeyCluster]:
    """Three Valkey primaries; `.addresses` lists (host, port)."""
    cluster = EmbeddedValkeyCluster(tmp_path_factory.mktemp("valkey-cluster"))
    asyncio.run(cluster.start())
    yield cluster
    cluster.kill()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model bundle, trained on nothing: right shapes, arbitrary numbers."""
    from tests.models.tiny_bundle import build

    folder: Path = build(tmp_path_factory.mktemp("bundle") / "tiny")
    return folder


@pytest.fixture(scope="session")
def triton(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTriton]:
    """A Triton server with the tiny bundle's models; `.address` is its gRPC endpoint."""
    from inference.bundle.bundle import read  # only for those who want Triton
    from inference.repository.repository import install

    folder = tmp_path_factory.mktemp("triton")
    install(read(bundle), folder / "repository")
    server = EmbeddedTriton(folder / "repository", folder, free_port())
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture
async def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop's clock stands still while there is something to do, and goes to the next timer at once when there
    is not. For tests of deadlines without sockets and threads, whose answers the loop would not wait for."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    select = loop._selector.select  # type: ignore[attr-defined]

    def jump(timeout: float | None) -> list[object]:
        nonlocal now
        events: list[object] = select(0 if timeout is not None else None)
        if not events and timeout:
            now += timeout
        return events

    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr(loop._selector, "select", jump)  # type: ignore[attr-defined]


@pytest.fixture
def prefix() -> str:
    """A fresh short string, to keep a test's topics and keys apart from other tests'."""
    return f"t{secrets.token_hex(4)}-"
