"""`recstream watch USER`: shows a live list in the terminal."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.commands.recommend import shown_title
from cli.server_error import server_error
from recstream.client import Cause, Client, Recommendations, RecstreamError


def watch(
    user: Annotated[str, typer.Argument(help="User id")],
    server: Annotated[str, typer.Option(help="host:port of the gRPC server")] = "127.0.0.1:50051",
    count: Annotated[int, typer.Option(min=1, max=500, help="Number of items")] = 10,
    filter_text: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Which items, such as 'category = \"shoes\" AND attributes.price <= 20'"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for each list")] = False,
) -> None:
    """Open a user's stream, and show each new list: what moved, why, and how long after the event."""
    console = Console()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(server, user, count, filter_text, console, as_json=as_json))
    except RecstreamError as error:
        raise server_error(server, error) from error


async def _watch(
    server: str, user: str, count: int, filter_text: str | None, console: Console, *, as_json: bool
) -> None:
    titles: dict[str, str] = {}
    before: list[str] = []
    async with Client(server) as client:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            async for answer in client.stream(user, count=count, filter=filter_text, item_fields=["title"]):
                received_ms = time.time() * 1000
                titles.update((item.item_id, shown_title(item)) for item in answer)
                newest = newest_cause(answer)
                if newest is not None and newest.item_id and newest.item_id not in titles:
                    titles[newest.item_id] = await title(client, newest.item_id)
                ids = [item.item_id for item in answer]
                if as_json:
                    live.stop()
                    print(json.dumps(_document(user, answer, received_ms)), flush=True)
                elif console.is_terminal:
                    live.update(
                        Group(_header(user, answer, received_ms, titles), _list(answer, before, titles))
                    )
                    live.refresh()
                else:
                    live.stop()
                    console.print(_header(user, answer, received_ms, titles))
                    console.print("  " + ", ".join(titles[item_id] for item_id in ids))
                before = ids


async def title(client: Client, item_id: str) -> str:
    """Returns the title of an item that is not on the list, or its id if it has no title or is unknown."""
    try:
        found = await client.get_items([item_id], item_fields=["title"])
    except RecstreamError:
        return item_id
    return (found[item_id].title if item_id in found else "") or item_id


def _document(user: str, answer: Recommendations, received_ms: float) -> dict[str, object]:
    return {
        "user_id": user,
        "tier": answer.tier.name.lower(),
        "item_ids": [item.item_id for item in answer],
        "caused_by": [
            {
                "event_id": c.event_id,
                "item_id": c.item_id,
                "action": c.action,
                "ms": received_ms - c.record_time.ToMilliseconds() if c.HasField("record_time") else None,
            }
            for c in answer.causes
        ],
    }


def _header(user: str, answer: Recommendations, received_ms: float, titles: dict[str, str]) -> Text:
    """Returns the user, the tier, and the newest event that the list includes."""
    text = Text.assemble((user, "bold"), f"  tier {answer.tier.name.lower()}  ")
    if (newest := newest_cause(answer)) is not None:
        late = received_ms - newest.record_time.ToMilliseconds()
        text.append(
            f"{late:.0f} ms after {newest.action} {titles.get(newest.item_id, newest.item_id)}", "green"
        )
        if others := len(answer.causes) - 1:
            text.append(f" and {others} more event{'s' if others > 1 else ''}")
    return text


def newest_cause(answer: Recommendations) -> Cause | None:
    """Returns the newest event that led to the list. None: the list names no event with a time."""
    timed = [cause for cause in answer.causes if cause.HasField("record_time")]
    return max(timed, key=lambda cause: cause.record_time.ToMilliseconds(), default=None)


def _list(answer: Recommendations, before: Sequence[str], titles: dict[str, str]) -> Table:
    table = Table(box=None)
    table.add_column("#", justify="right")
    table.add_column("moved")
    table.add_column("item")
    table.add_column("why", style="dim")
    for place, item in enumerate(answer):
        table.add_row(
            str(place + 1), moved(item.item_id, place, before), titles[item.item_id], item.reason.text
        )
    return table


def moved(item_id: str, place: int, before: Sequence[str]) -> Text:
    """Returns how far an item has moved since the list before."""
    if not before:
        return Text("")
    if item_id not in before:
        return Text("new", "green")
    by = before.index(item_id) - place
    return Text(f"{'▲' if by > 0 else '▼'} {abs(by)}", "green" if by > 0 else "red") if by else Text("")
