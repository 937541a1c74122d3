"""`recstream recommend USER`: prints one list."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.server_error import server_error
from recstream.client import Client, RankedItem, Recommendations, RecstreamError


def recommend(
    user: Annotated[str, typer.Argument(help="User id. A user without events gets a list too")],
    server: Annotated[str, typer.Option(help="host:port of the gRPC server")] = "127.0.0.1:50051",
    count: Annotated[int, typer.Option(min=1, max=500, help="Number of items")] = 10,
    surface: Annotated[
        str, typer.Option(help="Surface on which the list is shown. Default: the default surface")
    ] = "",
    domain: Annotated[str, typer.Option(help="Only items of this domain")] = "",
    filter_text: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Which items, such as 'category = \"shoes\" AND attributes.price <= 20'"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as one JSON document")] = False,
) -> None:
    """Ask the server for one list of a user."""
    try:
        answer = asyncio.run(_ask(server, user, count, surface, domain, filter_text))
    except RecstreamError as error:
        raise server_error(server, error) from error
    if as_json:
        items = [
            {"item_id": i.item_id, "title": shown_title(i), "score": i.score, "reason": i.reason.text}
            for i in answer
        ]
        print(json.dumps({"user_id": user, "tier": answer.tier.name.lower(), "items": items}))
    else:
        Console().print(list_table(user, answer))


async def _ask(
    server: str, user: str, count: int, surface: str, domain: str, filter_text: str | None
) -> Recommendations:
    async with Client(server) as client:
        return await client.recommend(
            user, count=count, surface=surface, domain=domain, filter=filter_text, item_fields=["title"]
        )


def shown_title(item: RankedItem) -> str:
    """Returns the title of an item of a list that shows titles, or its id if it has none."""
    return item.item.title or item.item_id


def list_table(user: str, answer: Recommendations) -> Table:
    """Returns a list as a table."""
    table = Table(title=f"{user}: {len(answer)} items, tier {answer.tier.name.lower()}", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    table.add_column("why")
    for place, item in enumerate(answer, start=1):
        table.add_row(str(place), shown_title(item), f"{item.score:.3f}", item.reason.text)
    return table
