"""`recstream model compress`: writes the int8 form of a bundle, if it loses little quality."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from cli.file_options import FileOptions, with_file_options
from cli.terminal.progress import progress_on
from configuration.settings import load_settings
from inference.bundle.bundle import Bundle, read
from inference.errors import BundleRefused

if TYPE_CHECKING:
    from evaluation.int8_comparison import Comparison


@with_file_options
def compress(
    options: FileOptions,
    bundle: Annotated[
        Path, typer.Argument(help="Folder of a float32 bundle, as `recstream train` writes it")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the int8 bundle. Existing files are replaced")],
    interactions: Annotated[
        list[Path],
        typer.Option(
            help="Interactions on which both bundles are measured: the files that the bundle was trained with"
        ),
    ],
    protocol: Annotated[
        Literal["leave-one-out", "next-item", "future"],
        typer.Option(help="Protocol of the measurement, as for `recstream evaluate`"),
    ],
    items: Annotated[list[Path] | None, typer.Option(help="Items that the bundle was trained with")] = None,
) -> None:
    """Write an int8 version of a bundle, unless it loses more than 1 % of NDCG@10.

    The result has its own version number, and is published like any other.
    """
    console = Console(highlight=False)
    try:
        from evaluation.data import MODEL_SURFACE, data_of, list_settings
        from evaluation.int8_comparison import check, compare
        from evaluation.protocols.split import split
        from models.errors import ModelsError
        from models.export.compression.int8_bundle import write_int8
    except ModuleNotFoundError as error:
        raise CommandError(
            f"compression needs {error.name}", "`make install` installs the group `models`"
        ) from error
    settings = load_settings()
    try:
        float32 = read(bundle)
        data = data_of(options.read(interactions, items or ()), settings, float32)
        test, lists = split(data.known, protocol), list_settings(settings, MODEL_SURFACE)
        with progress_on(console) as show:
            task = show.add_task("Graphs to int8", total=len(float32.manifest.graphs()))

            def quality_gate(int8: Bundle) -> dict[str, float]:
                found = compare(data, test, lists, float32, int8, threads=settings.train.threads, show=show)
                console.print(comparison_table(found))
                check(found)
                return found.metrics()

            out.parent.mkdir(parents=True, exist_ok=True)
            manifest = write_int8(float32, out, quality_gate, on_graph=lambda name: show.advance(task))
    except (ModelsError, BundleRefused) as error:
        raise CommandError(str(error)) from error
    console.print(f"Version {manifest.version} in int8: {out}", soft_wrap=True)


def comparison_table(found: "Comparison") -> Table:
    """Returns a table that compares both bundles, with the cost of each graph."""
    kept = "it has not seen" if found.unseen else "it was trained on"
    table = Table(
        title=f"{found.protocol}: NDCG@10 in {found.queries:,} lists of events that {kept}: {found.ndcg_float32:.4f} "
        f"in float32, {found.ndcg_int8:.4f} in int8, loss {found.loss:.2%}",
        caption="us: microseconds of a call on one core, by rows in it",
        title_justify="left", caption_justify="left",
    )  # fmt: skip
    batches = sorted({batch for cost in found.float32.values() for batch in cost.microseconds})
    table.add_column("graph")
    table.add_column("length", justify="right")
    for name in ("MB float32", "MB int8"):
        table.add_column(name, justify="right")
    for batch in batches:
        for kind in ("float32", "int8"):
            table.add_column(f"us {kind}, {batch}", justify="right")
    for name, cost in found.float32.items():
        small = found.int8[name]
        times = [
            f"{each.microseconds[batch]:,.0f}" if batch in each.microseconds else ""
            for batch in batches
            for each in (cost, small)
        ]
        table.add_row(name, str(cost.length), f"{cost.size / 1e6:.2f}", f"{small.size / 1e6:.2f}", *times)
    whole = (sum(cost.size for cost in costs.values()) / 1e6 for costs in (found.float32, found.int8))
    table.add_section()
    table.add_row("all", "", *(f"{size:.2f}" for size in whole))
    return table
