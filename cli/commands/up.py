"""`recstream up`: runs the whole system on this machine."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configuration.settings import Settings, load_settings
from local.service import Service
from local.stack import Stack

_PURPOSE = {
    "kafka": "Kafka, for producers and consumers of events",
    "valkey": "Valkey, the profiles",
    "triton": "Triton, the model (gRPC)",
    "ingest": "ingest: /readyz and /metrics (HTTP)",
    "server": "recommendations and records (gRPC)",
}


def up(
    data: Annotated[Path, typer.Option(help="Folder for data, logs and ports")] = Path(".recstream"),
    kafka: Annotated[
        str | None, typer.Option(help="host:port of a running Kafka. Default: start one")
    ] = None,
    valkey: Annotated[
        str | None,
        typer.Option(
            help="host:port of a running Valkey; nodes of a cluster separated by commas. Default: start one"
        ),
    ] = None,
    triton: Annotated[
        str | None, typer.Option(help="host:port of a running Triton (gRPC). Default: start one")
    ] = None,
    consumers: Annotated[int, typer.Option(min=1, max=16, help="Number of ingest processes")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as one JSON document once everything is ready")
    ] = False,
) -> None:
    """Start Kafka, Valkey, Triton, ingest and the server, and keep them running until Ctrl-C.

    A part that dies is restarted. Data stays in the folder for the next start.
    """
    settings = load_settings()
    console = Console(stderr=as_json, highlight=False)
    stack = Stack(
        settings,
        data,
        kafka=kafka or _set(settings, "kafka", "bootstrap"),
        valkey=valkey or _set(settings, "store", "addresses"),
        triton=triton or _set(settings, "triton", "address"),
        consumers=consumers,
        report=lambda part, text: console.print(Text.assemble((part, "bold"), " ", text), soft_wrap=True),
    )
    asyncio.run(_run(stack, console, as_json=as_json))


def _set(settings: Settings, room: str, field: str) -> str | None:
    """Returns the address in the settings, where a server runs already. None if it is not set."""
    model = getattr(settings, room)
    if field not in model.model_fields_set:
        return None
    value = getattr(model, field)
    return value if isinstance(value, str) else ",".join(value)


async def _run(stack: Stack, console: Console, *, as_json: bool) -> None:
    """Runs the stack until SIGINT, SIGTERM or SIGHUP, which stops it in order. A second signal kills it."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def stop() -> None:
        if asked.is_set():
            stack.kill()
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    work = loop.create_task(_serve(stack, console, as_json=as_json))
    waiting = loop.create_task(asked.wait())
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        work.cancel()
        try:
            await asyncio.gather(work, waiting, return_exceptions=True)
        finally:
            await stack.stop()
    if not work.cancelled() and (error := work.exception()) is not None:
        raise error
    console.print("all stopped")


async def _serve(stack: Stack, console: Console, *, as_json: bool) -> None:
    await stack.start()
    if as_json:
        print(json.dumps({name: stack.address(name) for name in _names(stack)}), flush=True)
    else:
        console.print(_table(stack))
        console.print("Ctrl-C stops everything.")
    await stack.supervise()


def _names(stack: Stack) -> list[str]:
    return [
        "kafka",
        "valkey",
        "triton",
        *(name for name in stack.parts if name not in ("kafka", "valkey", "triton")),
    ]


def _table(stack: Stack) -> Table:
    table = Table(title="recstream is up", title_justify="left", title_style="bold", box=None)
    table.add_column("part")
    table.add_column("address", no_wrap=True)
    table.add_column("what for")
    table.add_column("log", overflow="fold")
    for name in _names(stack):
        part = stack.parts.get(name)
        log = str(part.process.log) if part else "not started here"
        table.add_row(name, stack.address(name), _PURPOSE[name.split("-")[0]], log)
        if name == "server" and isinstance(part, Service):
            table.add_row("", f"127.0.0.1:{part.health_port}", "its /readyz and /metrics (HTTP)", "")
    return table
