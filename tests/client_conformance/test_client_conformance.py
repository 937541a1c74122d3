"""Both Python clients behave as `cases.json` says, which clients in other languages can run as well."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from recstream.client import Client, InvalidRequest, Recommendations, RecstreamError, Unavailable, sync
from recstream.v1.recommendation_service_pb2 import (
    RecommendResponse,
    SimilarItemsResponse,
    StreamRecommendationsResponse,
)
from tests.client.conftest import QUICK
from tests.client.elsewhere import serving

Case = dict[str, Any]
CASES: list[Case] = json.loads((Path(__file__).parent / "cases.json").read_text())
UNARY = {"Recommend": RecommendResponse, "SimilarItems": SimilarItemsResponse}
#: The types that details of a status may have. Importing them lets the JSON form name them.
DETAILS = error_details_pb2.DESCRIPTOR.message_types_by_name
DEADLINE = 30


def script(method: str, step: Case) -> Callable[[Any, grpc.aio.ServicerContext], Any]:
    """Returns what the server does with a request."""

    async def end(context: grpc.aio.ServicerContext) -> None:
        if "status" in step:
            status = ParseDict(step["status"], status_pb2.Status())
            await context.abort_with_status(rpc_status.to_status(status))
        if "hang" in step:
            await asyncio.Event().wait()

    async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
        await asyncio.sleep(step.get("after_share", 0) * (context.time_remaining() or 0))
        await end(context)
        return ParseDict(step["answer"], UNARY[method]())

    async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        for frame in step["frames"]:
            yield ParseDict({"frame": frame}, StreamRecommendationsResponse())
        await end(context)

    return unary if method in UNARY else stream


def settings(case: Case) -> dict[str, Any]:
    """Returns the arguments of a client."""
    given = case.get("client", {})
    return {
        "backoff": QUICK,
        "retries": given.get("retries", 4),
        "idle_timeout": given.get("idle_timeout_seconds", 90.0),
    }


def of_list(films: Recommendations | Iterable[Any]) -> Case:
    """Returns what a caller sees of a list."""
    seen: Case = {"item_ids": [film.item_id for film in films]}
    if isinstance(films, Recommendations):
        seen |= {
            "tier": films.tier.name,
            "includes_events": films.includes_events,
            "causes": [cause.event_id for cause in films.causes],
        }
    return seen


def of_error(error: RecstreamError) -> Case:
    """Returns what a caller sees of an error."""
    seen: Case = {
        "kind": type(error).__name__,
        "code": error.code.value[0] if error.code else None,
        "reason": error.reason,
        "metadata": dict(error.details.metadata),
    }
    if isinstance(error, InvalidRequest):
        seen["violations"] = {each.field: each.description for each in error.violations}
    if isinstance(error, Unavailable):
        seen["retry_after_seconds"] = error.retry_after
    return seen


async def seen_by_asyncio(case: Case, target: str) -> Case:
    """Makes the call of a case with the asyncio client. Returns what its caller sees."""
    call, lists = case["call"], []
    async with Client(target, **settings(case)) as client:
        unary: dict[str, Callable[..., Awaitable[Any]]] = {
            "Recommend": client.recommend,
            "SimilarItems": client.similar,
        }
        try:
            if call["method"] in unary:
                return of_list(
                    await unary[call["method"]](**call["request"], timeout=call.get("timeout_seconds"))
                )
            async with client.stream(**call["request"]) as stream:
                while len(lists) < max(len(case["sees"]["lists"]), 1):
                    lists.append(of_list(await anext(stream)))
                return {"lists": lists}
        except RecstreamError as error:
            return {"lists": lists, "error": of_error(error)}


def seen_by_sync(case: Case, target: str) -> Case:
    """Makes the call of a case with the synchronous client. Returns what its caller sees."""
    call, lists = case["call"], []
    with sync.Client(target, **settings(case)) as client:
        unary: dict[str, Callable[..., Any]] = {
            "Recommend": client.recommend,
            "SimilarItems": client.similar,
        }
        try:
            if call["method"] in unary:
                return of_list(unary[call["method"]](**call["request"], timeout=call.get("timeout_seconds")))
            with client.stream(**call["request"]) as stream:
                while len(lists) < max(len(case["sees"]["lists"]), 1):
                    lists.append(of_list(next(stream)))
                return {"lists": lists}
        except RecstreamError as error:
            return {"lists": lists, "error": of_error(error)}


def only(expected: Any, seen: Any) -> Any:
    """Returns the part of what was seen that is expected to be something."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        return {key: only(value, seen[key]) for key, value in expected.items() if key in seen}
    if isinstance(expected, list) and isinstance(seen, list) and len(expected) == len(seen):
        return [only(each, other) for each, other in zip(expected, seen, strict=True)]
    return seen


@pytest.mark.parametrize("kind", ["asyncio", "sync"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"].replace(" ", "-") for case in CASES])
def test_a_client_behaves_as_the_case_says(case: Case, kind: str):
    method = case["call"]["method"]
    with serving() as elsewhere:
        elsewhere.server.play(method, *(script(method, step) for step in case["server"]))
        if kind == "asyncio":
            seen = asyncio.run(asyncio.wait_for(seen_by_asyncio(case, elsewhere.target), DEADLINE))
        else:
            seen = seen_by_sync(case, elsewhere.target)
        assert only(case["sees"], seen) == case["sees"], seen
        requests = [
            MessageToDict(
                request, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for request in elsewhere.server.requests(method)
        ]
    assert only(case["requests"], requests) == case["requests"], requests


def test_the_names_of_the_cases_differ():
    assert len({case["name"] for case in CASES}) == len(CASES)
