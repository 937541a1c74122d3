"""The synchronous client is the asynchronous one, on a thread of its own, for threads."""

import contextvars
import gc
import inspect
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import grpc
import pytest

import recstream.client
from recstream.client import (
    ClientClosed,
    InvalidRequest,
    RecstreamError,
    Unavailable,
    interaction,
    sync,
)
from tests.client.conftest import QUICK
from tests.client.elsewhere import Elsewhere
from tests.client.scripted_server import (
    RecommendResponse,
    RecordResponse,
    answering,
    bad_request,
    failing,
    hang,
    slate,
    snapshot,
    status,
    streaming,
    token,
)

ROOT = Path(__file__).parents[2]
STREAM = "StreamRecommendations"


@pytest.fixture
def client(elsewhere: Elsewhere) -> Iterator[sync.Client]:
    """A client of the server."""
    with sync.Client(elsewhere.target, backoff=QUICK) as connected:
        yield connected


def own_threads() -> list[threading.Thread]:
    """The running threads of clients."""
    return [thread for thread in threading.enumerate() if thread.name == "recstream-client"]


def public(kind: type) -> dict[str, object]:
    """The public names of a class, by their synchronous names."""
    members = inspect.getmembers(kind)
    return {name.replace("aclose", "close"): member for name, member in members if not name.startswith("_")}


@pytest.mark.parametrize("name", ["Client", "RecommendationStream", "Session"])
def test_both_clients_have_the_same_calls_with_the_same_parameters(name: str):
    ours, theirs = public(getattr(sync, name)), public(getattr(recstream.client, name))
    assert ours.keys() == theirs.keys(), "name each call of the asyncio client in recstream/client/sync.py"
    for each in [call for call, member in theirs.items() if inspect.isfunction(member)]:
        mine, other = (
            inspect.signature(methods[each]).parameters.values()  # type: ignore[arg-type]
            for methods in (ours, theirs)
        )
        facts = [[(p.name, p.kind, p.default) for p in parameters] for parameters in (mine, other)]
        assert facts[0] == facts[1], each
        if each != "record_many":  # which takes no asynchronous iterable
            assert [p.annotation for p in mine] == [p.annotation for p in other], each


def test_the_documentation_of_a_call_shows_it_without_await():
    assert "films = client.recommend(" in (sync.Client.recommend.__doc__ or "")
    assert "for page in client.pages(" in (sync.Client.pages.__doc__ or "")
    for name in public(sync.Client):
        assert "await " not in (getattr(sync.Client, name).__doc__ or "")
    assert inspect.signature(sync.Client) == inspect.signature(recstream.client.Client)


def test_calls_block_and_return_what_the_asyncio_client_returns(elsewhere: Elsewhere, client: sync.Client):
    elsewhere.server.play("Record", answering(RecordResponse(token=token(7))))
    assert client.record("ann", "a", "view", value=0.5) == token(7)
    assert client.recommend("ann", count=3, after=[token(7)]).item_ids == ("a",)
    elsewhere.server.play(
        "Recommend",
        answering(RecommendResponse(slate=slate("a"), next_page_token="2")),
        answering(RecommendResponse(slate=slate("b"))),
    )
    assert [page.item_ids for page in client.pages("ann")] == [("a",), ("b",)]
    details = bad_request(interaction__action="is unknown")
    elsewhere.server.play("Record", failing(grpc.StatusCode.INVALID_ARGUMENT, "no", details))
    with pytest.raises(InvalidRequest) as caught:
        client.record("ann", "a", "nonsense")
    assert caught.value.violations[0].field == "interaction.action"


def test_leaving_a_loop_over_a_stream_cancels_its_call_and_it_resumes(
    elsewhere: Elsewhere, client: sync.Client
):
    elsewhere.server.play(
        STREAM,
        streaming(snapshot(1, "a", token="t1"), error=status(grpc.StatusCode.UNAVAILABLE, "gone")),
        streaming(snapshot(1, "b", token="t2"), park=True),
    )
    stream = client.stream("ann")
    seen = []
    for films in stream:
        seen.append(films.item_ids)
        if len(seen) == 2:
            break
    assert seen == [("a",), ("b",)]
    assert [elsewhere.run(elsewhere.server.end()) for _ in range(2)][1] == "cancelled"
    assert stream.latest is not None
    assert stream.latest.item_ids == ("b",)
    assert stream.reconnects == 1
    assert next(iter(stream)).item_ids == ("b",)
    assert elsewhere.server.resume_tokens() == ["", "t1", "t2"]


def test_another_thread_ends_a_stream_by_closing_it(elsewhere: Elsewhere, client: sync.Client):
    with client.stream("ann") as stream:
        assert next(stream).item_ids == ("a",)
        with ThreadPoolExecutor() as threads:
            rest = threads.submit(list, stream)
            time.sleep(0.05)
            stream.close()
            assert rest.result(10) == []
    assert list(stream) == []
    assert elsewhere.run(elsewhere.server.end()) == "cancelled"


def test_a_session_records_and_iterates(elsewhere: Elsewhere, client: sync.Client):
    with client.session("ann") as session:
        assert next(session).item_ids == ("a",)
        assert session.record("a", "view") == token(1)
        assert session.latest is not None
    assert elsewhere.run(elsewhere.server.end()) == "cancelled"
    with pytest.raises(ClientClosed):
        session.record("a", "view")


def test_events_are_read_in_the_calling_thread_as_answers_come(elsewhere: Elsewhere, client: sync.Client):
    threads, read = set(), itertools.count()

    def events() -> Iterator[recstream.client.Interaction]:
        for _ in range(500):
            threads.add(threading.current_thread())
            next(read)
            yield interaction("ann", "a", "view")

    outcomes = client.record_many(events(), in_flight=8)
    first = list(itertools.islice(outcomes, 10))
    assert next(read) <= 10 + 2 * 8 + 1
    rest = list(outcomes)
    assert len(first) + len(rest) == 500
    assert all(each.token == token(1) for each in (*first, *rest))
    assert threads == {threading.current_thread()}


def test_an_error_of_the_events_is_raised_after_the_outcomes_of_those_before(client: sync.Client):
    def events() -> Iterator[recstream.client.Interaction]:
        yield interaction("ann", "a", "view")
        raise LookupError("no more")

    outcomes = client.record_many(events())
    assert next(outcomes).token == token(1)
    with pytest.raises(LookupError, match="no more"):
        next(outcomes)


def test_leaving_the_outcomes_ends_the_recording(elsewhere: Elsewhere, client: sync.Client):
    with closing(client.record_many(interaction("ann", "a", "view") for _ in itertools.count())) as outcomes:
        next(outcomes)
    assert elsewhere.run(elsewhere.server.end()) == "cancelled"


def test_many_threads_share_a_client_and_nothing_stays_open(elsewhere: Elsewhere):
    elsewhere.server.play("Record", answering(RecordResponse(token=token(7))))
    client = sync.Client(elsewhere.target, backoff=QUICK)

    def visit(place: int) -> int:
        user = f"user {place}"
        for _ in range(10):
            assert client.recommend(user).item_ids == ("a",)
            assert client.record(user, "a", "view") == token(7)
        assert next(iter(client.stream(user))).item_ids == ("a",)
        with client.session(user) as session:
            session.record("a", "view")
        return len(list(client.record_many(interaction(user, "a", "view") for _ in range(10))))

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(visit, range(16))) == [10] * 16
    assert len(own_threads()) == 1
    client.close()
    client.close()
    assert own_threads() == []
    elsewhere.closed()
    assert elsewhere.relay.opened == 1


def test_closing_the_client_ends_what_other_threads_wait_for(elsewhere: Elsewhere):
    client = sync.Client(elsewhere.target, backoff=QUICK)
    stream, session = client.stream("ann"), client.session("ann")
    next(stream)
    session.__enter__()
    next(session)
    never = client.record_many(iter(lambda: interaction("ann", "a", "view"), None))
    waits: list[Callable[[], object]] = [
        lambda: client.profile("ann", timeout=60),
        lambda: next(stream),
        lambda: next(session),
        lambda: list(never),
    ]
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(wait) for wait in waits]
        while not elsewhere.server.requests("GetProfile"):
            time.sleep(0.01)
        client.close()
        for each in waiting:
            assert isinstance(each.exception(10), ClientClosed)
    for wait in waits[:3]:
        with pytest.raises(ClientClosed, match="make a new one"):
            wait()
    session.close()
    stream.close()
    elsewhere.closed()


def test_a_client_that_is_dropped_ends_its_thread(elsewhere: Elsewhere):
    client = sync.Client(elsewhere.target)
    client.recommend("ann")
    [thread] = own_threads()
    del client
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    elsewhere.closed()


def test_a_function_that_the_client_calls_cannot_wait_for_the_client(
    elsewhere: Elsewhere, client: sync.Client
):
    elsewhere.server.play(STREAM, streaming(error=status(grpc.StatusCode.UNAVAILABLE, "gone")))
    with pytest.raises(RecstreamError, match="wait for itself"):
        next(client.stream("ann", on_retry=lambda *_: client.recommend("ann")))


def test_the_metadata_function_may_block_and_has_the_context_of_the_caller(elsewhere: Elsewhere):
    who = contextvars.ContextVar("who", default="nobody")
    waiting, go_on = threading.Event(), threading.Event()

    def metadata() -> dict[str, str]:
        if who.get() == "slow":
            waiting.set()
            assert go_on.wait(10)
        return {"who": who.get()}

    def call(name: str) -> None:
        who.set(name)
        client.recommend(name)

    with sync.Client(elsewhere.target, metadata=metadata) as client, ThreadPoolExecutor() as threads:
        slow = threads.submit(call, "slow")
        assert waiting.wait(10)
        threads.submit(call, "quick").result(10)
        go_on.set()
        slow.result(10)
    seen = [(each.request.user_id, each.metadata["who"]) for each in elsewhere.server.seen]
    assert seen == [("quick", "quick"), ("slow", "slow")]


def test_a_missing_server_is_unavailable():
    with sync.Client("127.0.0.1:1", retries=0) as client, pytest.raises(Unavailable, match="check the host"):
        client.recommend("ann")


def test_a_wsgi_server_with_threads_shares_a_client(elsewhere: Elsewhere, client: sync.Client):
    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    def view(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        films = client.recommend(environ["PATH_INFO"][1:])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join(films.item_ids).encode()]

    with make_server("127.0.0.1", 0, view, Server, Quiet) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()

        def get(place: int) -> bytes:
            url = f"http://127.0.0.1:{server.server_port}/user-{place}"
            with urllib.request.urlopen(url, timeout=20) as answer:
                return bytes(answer.read())

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(get, range(64))) == [b"a"] * 64
        server.shutdown()
        serving.join(10)
    assert {request.user_id for request in elsewhere.server.requests("Recommend")} == {
        f"user-{place}" for place in range(64)
    }


def run(elsewhere: Elsewhere, script: str) -> subprocess.Popen[str]:
    """Starts a process that has `client`, and prints."""
    head = f"""
    import os, signal, sys, threading
    from recstream.client.sync import Client
    signal.signal(signal.SIGINT, signal.default_int_handler)
    client = Client({elsewhere.target!r})
    """
    return subprocess.Popen(
        [sys.executable, "-c", f"{inspect.cleandoc(head)}\n{inspect.cleandoc(script)}"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'protos'}", "PYTHONWARNINGS": "error"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FORK = """
if os.fork() == 0:
    try:
        print(client.recommend("ann").item_ids)
        client.close()
    except Exception as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)
_, how = os.wait()
print(client.recommend("ann").item_ids, how)
"""


def test_a_client_that_is_made_before_a_fork_works_in_both_processes(elsewhere: Elsewhere):
    out, err = run(elsewhere, FORK).communicate(timeout=30)
    assert (out.splitlines(), err) == (["('a',)", "('a',) 0"], "")


def test_a_client_that_is_used_before_a_fork_says_what_to_do_in_the_child(elsewhere: Elsewhere):
    out, err = run(elsewhere, f"client.recommend('ann')\n{FORK}").communicate(timeout=30)
    child, parent = out.splitlines()
    assert "make the first call after the fork" in child
    assert parent == "('a',) 0", err


def test_an_asyncio_client_that_is_used_before_a_fork_says_so_as_well(elsewhere: Elsewhere):
    script = f"""
    import asyncio
    from recstream.client import Client as AsyncClient
    client.recommend("ann")
    if os.fork() == 0:
        try:
            asyncio.run(AsyncClient({elsewhere.target!r}).recommend("ann"))
        except Exception as error:
            print(error)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    """
    out, err = run(elsewhere, script).communicate(timeout=30)
    assert "make the first call after the fork" in out, err


@pytest.mark.parametrize(
    "use",
    [
        "client.recommend('ann')",
        "stream = client.stream('ann'); next(stream)",
        "session = client.session('ann').__enter__(); next(session)",
        "threading.Thread(target=lambda: client.profile('ann', timeout=60), daemon=True).start()\n"
        "client.recommend('ann')",
    ],
    ids=["call", "stream", "session", "waiting thread"],
)
def test_the_interpreter_exits_without_close(elsewhere: Elsewhere, use: str):
    process = run(elsewhere, f"{use}\nprint('used')")
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("used\n", 0), err
    elsewhere.closed()


def test_an_interrupt_cancels_the_call_on_the_server(elsewhere: Elsewhere):
    cancelled = threading.Event()

    async def noted(request: object, context: grpc.aio.ServicerContext) -> None:
        try:
            await hang(request, context)
        finally:
            cancelled.set()

    elsewhere.server.play("GetProfile", noted)
    script = """
    try:
        client.profile("ann", timeout=60)
    except KeyboardInterrupt:
        print("interrupted", client.recommend("ann").item_ids)
    sys.stdin.read()
    """
    process = run(elsewhere, script)
    while not elsewhere.server.requests("GetProfile"):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert cancelled.wait(20)
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("interrupted ('a',)\n", "")
