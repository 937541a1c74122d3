"""Latency of unary calls with the asyncio client and with the synchronous one, in turn.

    bin/bench sync_client [--calls 2000] [--concurrency 16]

The server is a process of its own, which answers each call at once with a list of ten items, so the time is that of the
clients, gRPC and the loopback. Each client makes its calls one after another, and then from many tasks or threads
together. The synchronous client also makes them in a view of Django, in threads of two gunicorn workers, which as many
clients request together. Prints one line of JSON, in microseconds.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from multiprocessing.connection import Connection
from statistics import median

import grpc
import grpc.aio

from recstream.client import Client, sync
from recstream.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse
from recstream.v1.slate_pb2 import RankedItem, Slate
from tests.client.gunicorn_site import Site, serving_site

ROUNDS = 10
WARM_UP = 20


async def recommend(request: RecommendRequest, context: object) -> RecommendResponse:
    """Answers at once."""
    items = [RankedItem(item_id=f"item-{place}", score=1.0) for place in range(10)]
    return RecommendResponse(slate=Slate(slate_id="s", items=items))


def serve(ready: Connection) -> None:
    """Serves until the process is ended. Sends its port."""

    async def run() -> None:
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(
            recommend, RecommendRequest.FromString, RecommendResponse.SerializeToString
        )
        service = "recstream.v1.RecommendationService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Recommend": method}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        ready.send(port)
        await server.wait_for_termination()

    asyncio.run(run())


async def asyncio_calls(client: Client, count: int) -> list[float]:
    """Makes calls one after another. Returns the seconds that each took."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        await client.recommend("ann", count=10)
        seconds.append(time.perf_counter() - start)
    return seconds


def sync_calls(client: sync.Client, count: int) -> list[float]:
    """Makes calls one after another. Returns the seconds that each took."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        client.recommend("ann", count=10)
        seconds.append(time.perf_counter() - start)
    return seconds


async def asyncio_round(target: str, calls: int, concurrency: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of calls one after another, and of as many from several tasks."""
    async with Client(target) as client:
        await asyncio_calls(client, WARM_UP)
        alone = await asyncio_calls(client, calls)
        runs = await asyncio.gather(
            *(asyncio_calls(client, calls // concurrency) for _ in range(concurrency))
        )
    return alone, list(chain.from_iterable(runs))


def sync_round(target: str, calls: int, concurrency: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of calls one after another, and of as many from several threads."""
    with sync.Client(target) as client, ThreadPoolExecutor(concurrency) as threads:
        sync_calls(client, WARM_UP)
        alone = sync_calls(client, calls)
        runs = list(threads.map(lambda _: sync_calls(client, calls // concurrency), range(concurrency)))
    return alone, list(chain.from_iterable(runs))


def site_round(site: Site, calls: int, concurrency: int) -> list[float]:
    """Returns the seconds of the calls that views make when several clients request pages together."""
    with ThreadPoolExecutor(concurrency) as threads:
        return [took for _, took in threads.map(site.get, ["ann"] * (WARM_UP + calls))][WARM_UP:]


def measure(target: str, calls: int, concurrency: int) -> dict[str, list[float]]:
    """Returns the seconds that calls took, by client and by whether they run together."""
    taken: dict[str, list[float]] = {}
    with serving_site(target) as site:
        for _ in range(ROUNDS):
            # Each round has a client of its own, because gRPC wakes all event loops that exist.
            for name, (alone, many) in (
                ("asyncio", asyncio.run(asyncio_round(target, calls // ROUNDS, concurrency))),
                ("sync", sync_round(target, calls // ROUNDS, concurrency)),
            ):
                taken.setdefault(name, []).extend(alone)
                taken.setdefault(f"{name}, together", []).extend(many)
            taken.setdefault("sync, django", []).extend(site_round(site, calls // ROUNDS, concurrency))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2_000, help="of each client, one after another")
    parser.add_argument("--concurrency", type=int, default=16, help="tasks or threads")
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=serve, args=(there,), daemon=True)
    server.start()
    try:
        taken = measure(f"127.0.0.1:{here.recv()}", arguments.calls, arguments.concurrency)
    finally:
        server.terminate()
    figures: dict[str, object] = {"machine": platform.processor() or platform.machine()}
    for name, seconds in taken.items():
        ordered = sorted(seconds)
        p99 = ordered[int(len(ordered) * 0.99)]
        figures[name] = {"calls": len(seconds), "p50": round(median(ordered) * 1e6), "p99": round(p99 * 1e6)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
