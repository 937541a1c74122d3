"""`recstream model repository`: a bundle as a model repository for a Triton of one's own."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.errors import CommandError
from inference.bundle.bundle import read
from inference.repository.backends import Backend
from inference.repository.repository import install


def repository(
    bundle: Annotated[Path, typer.Argument(help="The folder that `recstream train` or `compress` made")],
    backend: Annotated[
        Literal["python", "onnxruntime", "tensorrt"], typer.Option(help="What runs the graphs inside Triton")
    ],
    out: Annotated[Path, typer.Option(help="The repository: made, or given this version beside others")],
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--cpu", help="Where; TensorRT takes GPUs, the others CPUs unless said so"),
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Of each graph, on each GPU")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Of each instance on a CPU")] = 1,
    preferred: Annotated[
        str, typer.Option(help="Batch sizes that Triton should form, with commas: 4,8,16")
    ] = "",
    delay_us: Annotated[int, typer.Option(min=0, help="Microseconds that a request may wait for others")] = 0,
    precision: Annotated[
        Literal["fp32", "fp16"],
        typer.Option(help="Of item encoders on TensorRT; the other graphs stay in fp32"),
    ] = "fp32",
    workspace_mb: Annotated[int, typer.Option(min=1, help="GPU memory of a TensorRT engine")] = 1024,
    engines: Annotated[
        str, typer.Option(help="Folder on Triton's machine, there already, where TensorRT engines are kept")
    ] = "",
) -> None:
    """Write a Triton model repository for one of its backends.

    Another version can be written beside, of the same backend. Triton takes it once it is told to load it.
    """
    try:
        sizes = tuple(int(size) for size in preferred.split(",") if size.strip())
        if any(size < 1 for size in sizes):
            raise ValueError("a batch has one row at least")
        wanted = Backend(
            backend, (backend == "tensorrt") if gpu is None else gpu, instances, threads, sizes, delay_us,
            precision == "fp16", workspace_mb, engines.rstrip("/"),
        )  # fmt: skip
    except ValueError as error:
        raise CommandError(str(error), "see `recstream model repository --help`") from error
    checked = read(bundle)
    install(checked, out, wanted)
    where = "GPU" if wanted.gpu else "CPU"
    Console(highlight=False).print(
        f"Version {checked.manifest.version} is in {out}, for the {backend} backend on {where}: "
        f"{', '.join(checked.manifest.graphs())}",
        soft_wrap=True,
    )
