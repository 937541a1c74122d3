"""What the clients refuse before they send anything, because it would mean something else, or fail without a reason."""

import math

import grpc
import pytest

from recstream.client import Client, InvalidRequest, Item, Unavailable, interaction, sync
from recstream.client.events import impression
from recstream.v1 import catalog_service_pb2 as catalog
from tests.client.scripted_server import (
    RecommendResponse,
    ScriptedServer,
    Unary,
    answering,
    bad_request,
    failing,
    slate,
    token,
)


def refusing(field: str, problem: str) -> Unary:
    """A script that refuses a field, as recstream does."""
    details = bad_request(**{field: problem})
    return failing(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: {problem}", details)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.delete_items("t0"),
        lambda client: client.withdraw("t0"),
        lambda client: client.get_items("t0"),
        lambda client: client.get_items(["t0"], item_fields="title"),
        lambda client: client.rank("ann", "t0"),
        lambda client: client.recommend("ann", excluded="t0"),
        lambda client: client.recommend("ann", item_fields="title"),
        lambda client: client.similar("t1", excluded="t0"),
        lambda client: client.top_items(excluded="t0"),
        lambda client: client.top_items(item_fields="title"),
        lambda client: client.record_impression("ann", "t0"),
        lambda client: anext(client.list_items(item_fields="title")),
    ],
)
async def test_one_text_is_not_taken_for_a_list_of_its_letters(client: Client, call) -> None:
    with pytest.raises(TypeError, match="is the single value '(t0|title)'; give a list, such as"):
        await call(client)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda client: client.recommend(42), "user_id is 42; it must be a text, such as '42'"),
        (lambda client: client.rank("ann", ["a", 7]), r"item_ids\[1\] is 7"),
        (lambda client: client.item(7), "item_id is 7"),
        (lambda client: client.similar(7), "item_id is 7"),
        (lambda client: client.record("ann", 7, "like"), "item_id is 7"),
        (lambda client: client.erase(None), "user_id is None"),
        (lambda client: client.profile(b"ann"), "user_id is b'ann'"),
    ],
)
async def test_an_id_that_is_no_text_is_refused_by_name(client: Client, call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await call(client)


def test_events_and_streams_are_refused_where_they_are_made() -> None:
    with pytest.raises(TypeError, match="user_id is 42"):
        interaction(42, "a", "like")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="single value"):
        impression("ann", "abc")
    with pytest.raises(TypeError, match="single value"):
        Client("localhost:1").stream("ann", excluded="abc")
    with pytest.raises(TypeError, match="user_id is 42"):
        Client("localhost:1").session(42)  # type: ignore[arg-type]


def test_the_synchronous_client_refuses_the_same() -> None:
    with sync.Client("localhost:1") as client, pytest.raises(TypeError, match="single value"):
        client.delete_items("t0")


@pytest.mark.parametrize("kind", [Client, sync.Client])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "http://localhost:50051"}, "begins with 'http://'; it must be host:port"),
        ({"target": "HTTPS://user:secret@host"}, r"credentials=tls\(\)"),
        ({"target": "grpcs://host:443"}, "begins with 'grpcs://'"),
        ({"target": " "}, "target is empty"),
        ({"retries": -1}, "retries is -1"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": math.nan}, "timeout is nan"),
        ({"idle_timeout": -1.0}, "idle_timeout is -1.0"),
    ],
)
def test_a_client_that_could_never_work_is_not_made(kind, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        kind(**{"target": "localhost:50051", **arguments})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["dns:///recstream:50051", "ipv6:[::1]:50051", "unix:/run/recstream.sock", "http:1"]
)
def test_the_targets_of_grpc_are_taken(target: str) -> None:
    assert Client(target).target == target


@pytest.mark.parametrize("seconds", [math.inf, 1e12, 1e300])
async def test_the_longest_timeouts_do_not_end_a_call_at_once(
    server: ScriptedServer, client: Client, seconds: float
) -> None:
    server.play("Recommend", answering(RecommendResponse(slate=slate("a"))))
    assert (await client.recommend("ann", timeout=seconds)).item_ids == ("a",)
    async with Client(server.target, timeout=seconds) as patient:
        assert (await patient.recommend("ann")).item_ids == ("a",)


async def test_a_timeout_that_is_no_number_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="timeout is nan"):
        await client.recommend("ann", timeout=math.nan)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("x", "secrét"),
        ("x", "secret\n"),
        ("x", None),
        ("x", 7),
        ("x", b"secret"),
        ("x-bin", "secret"),
        ("a key", "secret"),
        ("", "secret"),
        ("ключ", "secret"),
    ],
)
async def test_metadata_that_cannot_be_sent_is_refused_by_its_key_and_without_its_value(
    server: ScriptedServer, key: str, value: object
) -> None:
    for metadata in ({key: value}, lambda: {key: value}):
        async with Client(server.target, metadata=metadata) as client:
            with pytest.raises(ValueError, match=f"'{key}'") as caught:
                await client.recommend("ann")
        assert "secr" not in str(caught.value) and not server.seen


async def test_keys_of_metadata_are_sent_in_lower_case(server: ScriptedServer) -> None:
    server.play("Recommend", answering(RecommendResponse()))
    async with Client(
        server.target, metadata={"Authorization": "Bearer ~ !", "X-Bin": b"\x00\xff"}
    ) as client:  # type: ignore[dict-item]
        await client.recommend("ann")
    assert server.seen[0].metadata["authorization"] == "Bearer ~ !"


async def test_an_invalid_item_is_named_by_its_index_among_all_items(
    server: ScriptedServer, client: Client
) -> None:
    async def accept(request, context):
        return catalog.PutItemsResponse(token=token(1))

    server.play("PutItems", accept, accept, refusing("items[7].item_id", "is blank"))
    with pytest.raises(InvalidRequest, match=r"^items\[2007\]\.item_id: is blank") as caught:
        await client.put_items(Item(item_id=str(n)) for n in range(3_000))
    assert [each.field for each in caught.value.violations] == ["items[2007].item_id"]


async def test_an_invalid_id_is_named_by_its_index_among_all_ids(
    server: ScriptedServer, client: Client
) -> None:
    async def defer_all_but_one(request, context):
        first, *others = request.item_ids
        return catalog.BatchGetItemsResponse(items=[Item(item_id=first)], deferred_item_ids=others)

    server.play("BatchGetItems", defer_all_but_one, refusing("item_ids[999]", "must not be blank"))
    with pytest.raises(InvalidRequest, match=r"item_ids\[1001\]"):
        await client.get_items(["a", "a", *(str(n) for n in range(998)), "b", " "])


async def test_a_message_that_is_too_large_is_refused_and_not_tried_again(
    server: ScriptedServer, client: Client
) -> None:
    server.play("PutItems", answering(catalog.PutItemsResponse()))
    with pytest.raises(InvalidRequest, match="too large.*send less, or ask for less"):
        await client.put_items([Item(item_id="a", description="x" * (5 << 20))])
    assert not server.seen
    huge = RecommendResponse(slate=slate("x" * (5 << 20)))
    server.play("Recommend", answering(huge))
    with pytest.raises(InvalidRequest, match="too large"):
        await client.recommend("ann")
    assert len(server.seen) == 1


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_a_server_behind_a_proxy_that_is_not_there_is_unavailable_with_a_hint(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    server.play("Recommend", answering(RecommendResponse(slate=slate("a"))))
    async with Client(server.target, retries=0) as client:
        with pytest.raises(Unavailable, match=f"the proxy of {variable}, unless no_proxy lists the host"):
            await client.recommend("ann")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with Client(server.target) as client:
        assert (await client.recommend("ann")).item_ids == ("a",)
