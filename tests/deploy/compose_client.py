"""A client of the ports that deploy/compose.yaml publishes. It runs inside its network: `compose_client.py FUNCTION
ARGUMENTS` prints the result as JSON."""

import asyncio
import json
import socket
import sys
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import grpc

from recstream.client import Client, RecstreamError
from recstream.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    profile_service_pb2,
    profile_service_pb2_grpc,
)
from recstream.v1.item_pb2 import Item
from recstream.v1.recommendation_service_pb2 import (
    RecommendRequest,
    RecommendResponse,
    StreamRecommendationsRequest,
)
from recstream.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

WEB, MOBILE, SERVER = 8080, 8081, 50051
_PAGE = "http://localhost:5173"


def put_items(count: str) -> int:
    """Puts items as a backend, directly at the server. Returns their number."""
    items = [
        Item(item_id=f"item-{n}", title=f"A red shoe {n}", categories=["shoe"]) for n in range(int(count))
    ]
    with grpc.insecure_channel(f"127.0.0.1:{SERVER}") as channel:
        stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        stub.PutItems(catalog_service_pb2.PutItemsRequest(items=items), timeout=10)
    return len(items)


def through_json(method: str, path: str, body: str = "", origin: str = _PAGE) -> dict[str, Any]:
    """Sends one request as a web page."""
    connection, answer = _request(
        method, path, body.encode(), {"content-type": "application/json", "origin": origin}
    )
    said = answer.read().decode()
    connection.close()
    is_json = answer.getheader("content-type") == "application/json"
    return {
        "status": answer.status,
        "headers": dict(answer.getheaders()),
        "body": json.loads(said) if is_json else said,
    }


def preflight(path: str, origin: str) -> dict[str, str]:
    """Returns what a browser is told before a page may call."""
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-grpc-web",
    }
    connection, answer = _request("OPTIONS", path, b"", asked)
    answer.read()
    connection.close()
    return {name.lower(): value for name, value in answer.getheaders()}


def json_stream(user: str) -> list[dict[str, Any]]:
    """Returns the first frame of a stream as a web page reads it, and the frame that an event of the user causes."""
    connection, answer = _request(
        "POST", f"/v1/users/{user}:streamRecommendations", b'{"count": 3}', {"content-type": "application/json"}
    )  # fmt: skip
    frames = [json.loads(answer.readline())]
    event = {"eventId": "e-1", "userId": user, "itemId": "item-1", "action": "like"}
    sent = through_json("POST", "/v1/interactions", json.dumps(event))
    assert sent["status"] == 200, sent
    while "heartbeat" in (frame := json.loads(answer.readline()))["frame"]:
        pass
    frames.append(frame)
    connection.close()
    return frames


def grpc_web(user: str) -> dict[str, Any]:
    """Requests a list by gRPC-Web: one frame with the message, then one with the trailers, which its first byte
    marks."""
    message = RecommendRequest(user_id=user, count=3).SerializeToString()
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    kind = "application/grpc-web+proto"
    path = "/recstream.v1.RecommendationService/Recommend"
    connection, answer = _request(
        "POST", path, framed, {"content-type": kind, "x-grpc-web": "1", "origin": _PAGE}
    )
    raw = answer.read()
    connection.close()
    parts = []
    while raw:
        end = 5 + int.from_bytes(raw[1:5], "big")
        parts.append((raw[0], raw[5:end]))
        raw = raw[end:]
    (_, listed), (flag, trailers) = parts
    items = [item.item_id for item in RecommendResponse.FromString(listed).slate.items]
    return {
        "type": answer.getheader("content-type"),
        "items": items,
        "flag": flag,
        "trailers": trailers.decode().split(),
    }


def mobile(user: str) -> dict[str, Any]:
    """Acts as an app: a list that includes an event, by plain gRPC through Envoy, and a stream that the next event
    changes."""

    async def work() -> dict[str, Any]:
        async with Client(f"127.0.0.1:{MOBILE}") as client:
            token = await client.record(user, "item-2", "like")
            listed = await client.recommend(user, count=3, after=[token])
            causes: list[str] = []
            async with asyncio.timeout(20):
                async for lists in client.stream(user, count=3):
                    if lists.causes:
                        causes = [cause.event_id for cause in lists.causes]
                        break
                    await client.record(user, "item-3", "like")
            return {"items": listed.item_ids, "tier": listed.tier.name, "causes": causes}

    return asyncio.run(work())


def crowd(count: str) -> dict[str, int]:
    """Opens streams of as many users on one channel through Envoy, and calls beside them. Returns the number of streams
    that have a list, and the length of the call's list."""
    with grpc.insecure_channel(f"127.0.0.1:{MOBILE}") as channel:
        stub = RecommendationServiceStub(channel)
        streams = [
            stub.StreamRecommendations(
                StreamRecommendationsRequest(user_id=f"crowd-{n}", count=3), timeout=60
            )
            for n in range(int(count))
        ]
        lists = sum(len(next(stream).frame.snapshot.slate.items) == 3 for stream in streams)
        call = stub.Recommend(RecommendRequest(user_id="ann", count=3), timeout=10)
        for stream in streams:
            stream.cancel()
    return {"lists": lists, "call": len(call.slate.items)}


def refused(port: str) -> dict[str, str]:
    """Returns the answers to a client that calls what only backends may call."""
    found = {}
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        catalog = catalog_service_pb2_grpc.CatalogServiceStub(channel)
        profile = profile_service_pb2_grpc.ProfileServiceStub(channel)
        for name, call, request in (
            ("PutItems", catalog.PutItems, catalog_service_pb2.PutItemsRequest()),
            ("GetProfile", profile.GetProfile, profile_service_pb2.GetProfileRequest(user_id="ann")),
            ("EraseProfile", profile.EraseProfile, profile_service_pb2.EraseProfileRequest(user_id="ann")),
        ):
            try:
                call(request, timeout=5)
                found[name] = "OK"
            except grpc.RpcError as error:
                found[name] = error.code().name
    return found


def tier(user: str) -> str:
    """Returns the tier of the user's list now."""

    async def work() -> str:
        async with Client(f"127.0.0.1:{SERVER}") as client:
            try:
                return (await client.recommend(user, count=3)).tier.name
            except RecstreamError as error:
                return str(error)

    return asyncio.run(work())


def valkey_without_password() -> str:
    """Returns Valkey's answer to a client without the password."""
    with socket.create_connection(("127.0.0.1", 6379), timeout=5) as connection:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n")
        return connection.recv(1000).decode()


def scrape(host: str, port: str, path: str) -> dict[str, Any]:
    """Returns what Prometheus gets from a service: status, and the names of metrics. All names are this one address."""
    connection = HTTPConnection("127.0.0.1", int(port), timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    lines = answer.read().decode().splitlines()
    connection.close()
    return {
        "status": answer.status,
        "figures": sorted({line.split()[2] for line in lines if line.startswith("# TYPE ")}),
    }


def _request(
    method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[HTTPConnection, HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", WEB, timeout=20)
    connection.request(method, path, body, headers)
    return connection, connection.getresponse()


if __name__ == "__main__":
    function, *arguments = sys.argv[1:]
    print(json.dumps(globals()[function](*arguments)))
