"""How much of `server.answer_reserve_ms` a last-moment answer needs.

    bin/bench last_moment [--calls 200] [--concurrency 4] [--deadline 500] [--reserve MILLISECONDS]

Starts the whole system with a small model. First, lists wait for an event that never comes. Then Kafka is killed, and
events wait for it. The server begins each such answer one reserve before the caller's deadline. The measured time runs
from then until the answer arrives in this process. For comparison, a bare grpc.aio server in another process waits as
long, and refuses. Prints one line of JSON: milliseconds, and the number of callers without an answer in time.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

from configuration.settings import Settings
from local.stack import Stack
from recstream.v1 import (
    interaction_pb2,
    interaction_service_pb2,
    interaction_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)
from server.settings import ServerSettings
from tests.drills.world import ITEMS, fill
from tests.models.tiny_bundle import build

Ask = Callable[[int, float], Awaitable[Any]]


class Bare(interaction_service_pb2_grpc.InteractionServiceServicer):
    """Refuses each event one reserve before its deadline."""

    def __init__(self, reserve: float) -> None:
        self._reserve = reserve

    async def Record(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await asyncio.sleep(context.time_remaining() - self._reserve)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "bare")


def bare(reserve: float, port: Connection) -> None:
    async def serve() -> None:
        server = grpc.aio.server()
        bare_service = Bare(reserve)  # type: ignore[abstract]  # the generated base answers the other call
        interaction_service_pb2_grpc.add_InteractionServiceServicer_to_server(bare_service, server)
        port.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    uvloop.run(serve())


async def measure(ask: Ask, asked: argparse.Namespace) -> dict[str, float]:
    """Returns milliseconds by percentile. A call without an answer before the deadline only counts as late."""
    took: list[float] = []
    late = 0

    async def some(caller: int) -> None:
        nonlocal late
        for number in range(caller, asked.calls, asked.concurrency):
            began = time.monotonic()
            try:
                await ask(number, asked.deadline / 1000)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    late += 1
                    continue
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            took.append((time.monotonic() - began) * 1000 - asked.deadline + asked.reserve)

    await asyncio.gather(*(some(caller) for caller in range(asked.concurrency)))
    p50, p99 = np.percentile(took, (50, 99))
    return {"p50": round(p50, 1), "p99": round(p99, 1), "max": round(max(took), 1), "late": late}


def events(channel: grpc.aio.Channel) -> Ask:
    stub = interaction_service_pb2_grpc.InteractionServiceStub(channel)

    def record(number: int, seconds: float) -> Awaitable[Any]:
        one = interaction_pb2.Interaction(
            user_id=f"u{number}", item_id=ITEMS[0], action="click", event_id=f"e{number}",
        )  # fmt: skip
        request = interaction_service_pb2.RecordRequest(interaction=one)
        answer: Awaitable[Any] = stub.Record(request, timeout=seconds)
        return answer

    return record


def lists(channel: grpc.aio.Channel) -> Ask:
    stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)

    def recommend(number: int, seconds: float) -> Awaitable[Any]:
        request = recommendation_service_pb2.RecommendRequest(user_id=f"u{number}", after_event_ids=["never"])
        answer: Awaitable[Any] = stub.Recommend(request, timeout=seconds)
        return answer

    return recommend


async def run(asked: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=bare, args=(asked.reserve / 1000, there), daemon=True
    )
    process.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{here.recv()}") as channel:
            found["bare refusal"] = await measure(events(channel), asked)
    finally:
        process.kill()
        process.join()
    server = ServerSettings(answer_reserve_ms=asked.reserve)
    settings = Settings(bundle=build(folder / "bundle", ITEMS), server=server)
    async with Stack(settings, folder / "stack") as stack:
        await fill(stack)
        async with grpc.aio.insecure_channel(stack.address("server")) as channel:
            with suppress(grpc.aio.AioRpcError):
                await events(channel)(0, 10)
            found["list without its event"] = await measure(lists(channel), asked)
            stack.kill_part("kafka")
            found["refused event"] = await measure(events(channel), asked)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--deadline", type=float, default=500, help="deadline of each call, in milliseconds")
    parser.add_argument("--reserve", type=float, default=ServerSettings().answer_reserve_ms)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(uvloop.run(run(asked, Path(folder)))))


if __name__ == "__main__":
    main()
