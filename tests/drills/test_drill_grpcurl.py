"""A client that knows only the address of the server."""

import json
import shutil
import subprocess

import pytest

from local.stack import Stack

grpcurl = pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not on PATH")


def ask(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["grpcurl", "-plaintext", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@grpcurl
@pytest.mark.drill
def test_services_are_found_by_reflection_and_return_a_list(stack: Stack) -> None:
    address = stack.address("server")
    listed = ask(stack, address, "list").stdout.split()
    assert {
        "grpc.health.v1.Health",
        "recstream.v1.RecommendationService",
        "recstream.v1.InteractionService",
        "recstream.v1.ProfileService",
        "recstream.v1.CatalogService",
    } <= set(listed)
    answer = ask(
        stack, "-d", '{"userId": "curl", "count": 3}', address, "recstream.v1.RecommendationService/Recommend"
    )
    assert len(json.loads(answer.stdout)["slate"]["items"]) == 3, answer.stderr


@grpcurl
@pytest.mark.drill
def test_an_invalid_request_names_the_field(stack: Stack) -> None:
    answer = ask(
        stack, "-d", '{"userId": "curl", "count": -1}', stack.address("server"),
        "recstream.v1.RecommendationService/Recommend",
    )  # fmt: skip
    assert "InvalidArgument" in answer.stderr and "count" in answer.stderr, answer.stderr
