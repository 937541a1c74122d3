"""`recstream evaluate`: measures the lists of a bundle by one of four protocols, and compares them with baselines."""

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from cli.errors import CommandError
from cli.file_options import FileOptions, with_file_options
from cli.terminal.progress import progress_on
from cli.terminal.reports import report_table
from configuration.settings import Settings, load_settings
from inference.bundle.bundle import read
from inference.errors import BundleRefused
from local.installation import with_installation
from ranking.settings import DEFAULT_SURFACE
from readers.files import Files

if TYPE_CHECKING:
    from evaluation.protocols.cold import ColdResult
    from evaluation.report.results import Result

_USUAL = Path(".recstream")
_Protocol = Literal["leave-one-out", "next-item", "future", "cold-items"]


@with_file_options
def evaluate(
    options: FileOptions,
    interactions: Annotated[
        list[Path],
        typer.Option(help="All events, including those that the protocol holds out. Files as for `train`"),
    ],
    protocol: Annotated[
        _Protocol,
        typer.Option(
            help="What is held out. leave-one-out: each user's last positive event; next-item and future: events "
            "after one point in time, one by one or all at once; cold-items: items"
        ),
    ],
    items: Annotated[list[Path] | None, typer.Option(help="Items that the bundle was trained with")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle from `train --protocol`. Default: the setting `bundle`")
    ] = None,
    surface: Annotated[
        str,
        typer.Option(help="Surface whose lists are measured; `evaluation` keeps the order of the model"),
    ] = DEFAULT_SURFACE,
    surfaces: Annotated[
        str | None,
        typer.Option(help="File of surfaces, or `live` for those in force. Default: those of the settings"),
    ] = None,
    int8: Annotated[Path | None, typer.Option(help="The same model in int8, as another row")] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Teacher of the bundle, as another row. Default: the file beside the bundle"),
    ] = None,
    alone: Annotated[
        Path | None, typer.Option(help="The same model trained without a teacher, as another row")
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(
            help="Baselines, separated by commas: popularity, item-knn, ease, als, bpr, sasrec; or none"
        ),
    ] = "popularity",
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the baselines' training and of the bootstrap")
    ] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds to train baselines with, from --seed on")
    ] = 1,
    work: Annotated[Path, typer.Option(help="Folder for the measurements of the baselines' tuning")] = Path(
        ".recstream/evaluation"
    ),
    picture: Annotated[
        Path | None, typer.Option(help="SVG file for a chart of NDCG@10 with intervals")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one line of JSON at the end")
    ] = False,
) -> None:
    """Measure a bundle's lists in full ranking: HR, NDCG, MRR, Recall, with intervals."""
    if picture is not None:
        _check_picture(picture, protocol)
    console = Console(stderr=as_json)
    files = options.read(interactions, items or ())
    for report in files.reports:
        console.print(report_table(report))
    names = [name.strip() for name in baselines.split(",") if name.strip() not in ("", "none")]
    settings, surfaces_of = with_surfaces(load_settings(), surfaces)
    with progress_on(console) as progress:
        arguments = _Arguments(
            files, bundle or settings.bundle, int8, names, range(seed, seed + seeds), work, progress,
            console, surface, teacher, alone, settings,
        )  # fmt: skip
        result = _measured(protocol, arguments)
    if as_json:
        print(json.dumps({**result.as_dict(), "surfaces": surfaces_of}), flush=True)
    else:
        from cli.terminal.evaluation_tables import any_table

        console.print(any_table(result, console.width))
        console.print(f"Surfaces: {surfaces_of}", highlight=False, markup=False)
    if picture is not None:
        from evaluation.report.charts import ndcg_chart
        from evaluation.report.results import Result

        assert isinstance(result, Result), "_check_picture refuses the protocols without a chart"
        picture.write_text(ndcg_chart([result]), encoding="utf-8")
        console.print(f"Picture: {picture}", highlight=False)


def with_surfaces(settings: Settings, wanted: str | None) -> tuple[Settings, str]:
    """The settings with other surfaces, and what these are.

    Args:
        settings: The settings.
        wanted: A file, or `live`. None: the surfaces of the settings.

    Raises:
        SurfacesRefused: The file cannot be read, or is not valid.
        TopicsError: Kafka does not answer.
    """
    if wanted is None:
        return settings, "settings"
    from rollout.surfaces import read_history
    from rollout.surfaces_file import read_surfaces_file

    if wanted == "live":
        history = asyncio.run(read_history(with_installation(settings, _USUAL).kafka))
        if history.in_force is None or history.in_force.surfaces is None:
            return settings, "settings"
        taken, name = history.in_force.surfaces, f"version {history.in_force.version}"
    else:
        taken, name = read_surfaces_file(Path(wanted), settings.profiles.actions), wanted
    return settings.model_copy(update={"ranking": settings.ranking.with_surfaces(taken)}), name


def _check_picture(picture: Path, protocol: _Protocol) -> None:
    """Checks before the measurement, which may take hours, that its chart can be written. Raises CommandError."""
    if protocol == "cold-items":
        raise CommandError(f"{protocol} has no chart", "leave out --picture")
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        made = not picture.exists()
        picture.open("a").close()
        if made:  # A measurement that fails leaves no empty file behind.
            picture.unlink()
    except OSError as error:
        raise CommandError(
            f"cannot write {picture}: {error.strerror}", "name another file with --picture"
        ) from error


@dataclass(frozen=True, slots=True)
class _Arguments:
    """The arguments of the command, and the files that it names."""

    files: Files
    bundle: Path
    int8: Path | None
    baselines: list[str]
    seeds: range
    work: Path
    progress: Progress
    console: Console
    surface: str
    teacher: Path | None
    alone: Path | None
    settings: Settings


def _measured(protocol: _Protocol, arguments: _Arguments) -> "Result | ColdResult":
    """Measures by the protocol. Raises CommandError."""
    try:
        from evaluation.data import data_of, list_settings, teacher_methods, text_vectors, texts_warning
        from evaluation.errors import TrainedOnOther
        from evaluation.methods.product import cold_methods, product_methods
        from evaluation.methods.teacher import with_teacher_notes
        from evaluation.protocols.cold import cold_items
        from evaluation.protocols.split import split
        from evaluation.report.results import result
        from evaluation.run import measure_baselines, measure_methods
        from models.errors import ModelsError
    except ModuleNotFoundError as error:
        raise CommandError(
            f"evaluation needs {error.name}", "`make install` installs the group `models`"
        ) from error
    settings, show = arguments.settings, arguments.progress
    threads = settings.train.threads
    try:
        bundle, lists = read(arguments.bundle), list_settings(settings, arguments.surface)
        data = data_of(arguments.files, settings, bundle)
        if warning := texts_warning(bundle, data.items):
            arguments.console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
        if protocol == "cold-items":
            text = text_vectors(data, settings, arguments.bundle, show)
            methods = cold_methods(
                data.items, data.catalogue, bundle, lists, text, threads=threads, show=show
            )
            task = show.add_task("Lists", total=None)
            return replace(
                cold_items(data.known, methods, lambda done: show.advance(task, done)),
                surface=arguments.surface,
            )
        test = split(data.known, protocol)
        int8 = read(arguments.int8) if arguments.int8 is not None else None
        alone = read(arguments.alone) if arguments.alone is not None else None
        own = product_methods(
            test,
            data.items,
            data.catalogue,
            bundle,
            lists,
            int8=int8,
            alone=alone,
            threads=threads,
            show=show,
        )
        own += teacher_methods(test, data, settings, arguments.bundle, arguments.teacher, show)
        measured = with_teacher_notes(test, measure_methods(test, own, show), seed=arguments.seeds[0])
        measured += measure_baselines(
            data.known, test, arguments.baselines, arguments.seeds, arguments.work, threads, show
        )
        return result(test, measured, seed=arguments.seeds[0], surface=arguments.surface)
    except TrainedOnOther as error:
        raise CommandError(
            str(error),
            f"train it with the same files: `recstream train --protocol {protocol} --bundle {arguments.bundle}`",
        ) from error
    except (ModelsError, BundleRefused) as error:
        raise CommandError(str(error)) from error
