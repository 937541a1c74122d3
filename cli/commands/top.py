"""`recstream top`: prints the top items of the catalogue, without a user."""

import asyncio
import json
import re
from datetime import UTC, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from cli.server_error import server_error
from recstream.client import Client, RecstreamError, TopItem


class Order(StrEnum):
    """The orders of the items."""

    POPULAR = "popular"
    TRENDING = "trending"
    NEWEST = "newest"


def top(
    order: Annotated[
        Order, typer.Argument(help="popular: most events; trending: most now; newest")
    ] = Order.POPULAR,
    window: Annotated[
        str, typer.Option(help="For popular: count the events of the last hours or days, such as 24h or 30d")
    ] = "",
    server: Annotated[str, typer.Option(help="host:port of the gRPC server")] = "127.0.0.1:50051",
    count: Annotated[int, typer.Option(min=1, max=500, help="Number of items")] = 10,
    domain: Annotated[str, typer.Option(help="Only items of this domain")] = "",
    filter_text: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Which items, such as 'category = \"shoes\" AND attributes.price <= 20'"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the items as one JSON document")] = False,
) -> None:
    """Ask the server for the most popular, the trending or the newest items."""
    span = _span(window)
    try:
        items = asyncio.run(_ask(server, order, span, count, domain, filter_text))
    except RecstreamError as error:
        raise server_error(server, error) from error
    if as_json:
        listed = [
            {"item_id": item.item_id, "title": _title(item), _name(item): _figure(item)} for item in items
        ]
        print(json.dumps({"order": order.value, "items": listed}))
    else:
        Console().print(_table(order, window, items))


def _span(window: str) -> timedelta | None:
    if not window:
        return None
    found = re.fullmatch(r"(\d{1,6})([hd])", window)
    if found is None:
        raise CommandError(f"--window {window}: no number of hours or days", "write 24h or 30d")
    number = int(found[1])
    return timedelta(hours=number) if found[2] == "h" else timedelta(days=number)


async def _ask(
    server: str, order: Order, window: timedelta | None, count: int, domain: str, filter_text: str | None
) -> tuple[TopItem, ...]:
    async with Client(server) as client:
        return await client.top_items(
            order.value, window=window, count=count, domain=domain, filter=filter_text, item_fields=["title"]
        )


def _title(item: TopItem) -> str:
    return item.item.title or item.item_id


def _name(item: TopItem) -> str:
    return item.WhichOneof("figure") or "figure"


def _figure(item: TopItem) -> float | str:
    name = _name(item)
    if name == "published_at":
        return item.published_at.ToDatetime(UTC).isoformat(timespec="seconds")
    return item.popularity if name == "popularity" else item.trend


def _table(order: Order, window: str, items: tuple[TopItem, ...]) -> Table:
    span = f", last {window}" if window else ""
    table = Table(title=f"{order.value}{span}: {len(items)} items", title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("item")
    table.add_column(_name(items[0]).replace("_", " ") if items else "figure", justify="right")
    for place, item in enumerate(items, start=1):
        figure = _figure(item)
        table.add_row(str(place), _title(item), f"{figure:.2f}" if isinstance(figure, float) else str(figure))
    return table
