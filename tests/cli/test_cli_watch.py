"""What `recstream watch` shows."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from cli.commands import watch
from recstream.client import Cause, Recommendations, Tier


class OneList:
    """A client whose stream has one list: of item i1, after two events."""

    def __init__(self, server: str) -> None: ...

    async def __aenter__(self) -> "OneList":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def stream(
        self, user: str, *, count: int, filter: str | None, item_fields: list[str]
    ) -> AsyncIterator[Recommendations]:
        assert filter == "category = drama"
        causes = (
            Cause(event_id="e1", item_id="i7", action="view", record_time=Timestamp(seconds=1)),
            Cause(event_id="e2", item_id="i8", action="like", record_time=Timestamp(seconds=2)),
        )
        yield Recommendations(items=(), tier=Tier.RANKED, causes=causes)


async def title_of(client: OneList, item_id: str) -> str:
    return f"title of {item_id}"


def test_the_newest_event_is_named_by_the_title_of_its_item(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not on the list that it led to, so its title has to be looked up."""
    monkeypatch.setattr(watch, "Client", OneList)
    monkeypatch.setattr(watch, "title", title_of)
    asyncio.run(watch._watch("nowhere", "ann", 10, "category = drama", Console(width=200), as_json=False))
    printed = capsys.readouterr().out
    assert "after like title of i8 and 1 more event\n" in printed


def test_each_list_is_a_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(watch, "Client", OneList)
    monkeypatch.setattr(watch, "title", title_of)
    asyncio.run(watch._watch("nowhere", "ann", 10, "category = drama", Console(), as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert [cause["item_id"] for cause in document["caused_by"]] == ["i7", "i8"]
