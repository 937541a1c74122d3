"""`recstream model repository`: writes a bundle as a model repository for your own Triton."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.errors import CommandError
from inference.bundle.bundle import read
from inference.repository.backends import Backend
from inference.repository.repository import install


def repository(
    bundle: Annotated[
        Path,
        typer.Argument(
            help="Folder of a bundle, as `recstream train` or `recstream model compress` writes it"
        ),
    ],
    backend: Annotated[
        Literal["python", "onnxruntime", "tensorrt"], typer.Option(help="Triton backend that runs the graphs")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the repository. Created if missing; versions in it stay")
    ],
    gpu: Annotated[
        bool | None,
        typer.Option(
            "--gpu/--cpu", help="Where the graphs run. Default: GPU for TensorRT, CPU for the others"
        ),
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Instances of each graph, for each GPU")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each instance on a CPU")] = 1,
    preferred: Annotated[str, typer.Option(help="Preferred batch sizes, separated by commas: 4,8,16")] = "",
    delay_us: Annotated[
        int, typer.Option(min=0, help="Microseconds that a request may wait to be batched")
    ] = 0,
    precision: Annotated[
        Literal["fp32", "fp16"],
        typer.Option(help="Precision of item encoders on TensorRT. The other graphs stay in fp32"),
    ] = "fp32",
    workspace_mb: Annotated[
        int, typer.Option(min=1, help="GPU memory in MiB to build a TensorRT engine")
    ] = 1024,
    engines: Annotated[
        str, typer.Option(help="Existing folder on Triton's machine for built TensorRT engines")
    ] = "",
) -> None:
    """Write a Triton model repository for one backend.

    A repository takes several versions of one backend. Triton serves a version once it is told to load it.
    """
    try:
        sizes = tuple(int(size) for size in preferred.split(",") if size.strip())
        if any(size < 1 for size in sizes):
            raise ValueError("a batch has at least one row")
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
