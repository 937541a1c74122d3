"""`recstream rank USER ITEM...`: prints given items in the order for a user."""

import asyncio
import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from cli.commands.recommend import list_table, shown_title
from cli.server_error import server_error
from recstream.client import Client, Recommendations, RecstreamError


def rank(
    user: Annotated[str, typer.Argument(help="User id. A user without events gets an order too")],
    items: Annotated[
        list[str],
        typer.Argument(help="Ids of the items, at most 1,000; `-` reads one a line from standard input"),
    ],
    server: Annotated[str, typer.Option(help="host:port of the gRPC server")] = "127.0.0.1:50051",
    surface: Annotated[
        str, typer.Option(help="Surface on which the items are shown. Default: the default surface")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the order as one JSON document")] = False,
) -> None:
    """Ask the server for the order of items for a user, such as search results."""
    item_ids = [line.strip() for line in sys.stdin if line.strip()] if items == ["-"] else items
    try:
        answer = asyncio.run(_ask(server, user, item_ids, surface))
    except RecstreamError as error:
        raise server_error(server, error) from error
    if as_json:
        ranked = [
            {"item_id": i.item_id, "title": shown_title(i), "score": i.score, "reason": i.reason.text}
            for i in answer
        ]
        unknown = list(answer.unknown_item_ids)
        found = {
            "user_id": user,
            "tier": answer.tier.name.lower(),
            "items": ranked,
            "unknown_item_ids": unknown,
        }
        print(json.dumps(found))
    else:
        console = Console()
        console.print(list_table(user, answer))
        if answer.unknown_item_ids:
            console.print(f"unknown: {', '.join(answer.unknown_item_ids)}", markup=False, highlight=False)


async def _ask(server: str, user: str, item_ids: list[str], surface: str) -> Recommendations:
    async with Client(server) as client:
        return await client.rank(user, item_ids, surface=surface, item_fields=["title"])
