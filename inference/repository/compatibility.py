"""Whether a version can stand beside others in a model repository: one configuration is for all of a graph."""

import re
from pathlib import Path
from typing import Final

from inference.bundle.bundle import Bundle
from inference.errors import InstallFailed
from inference.repository.backends import Backend, config

_BACKEND: Final = re.compile(r'^backend: "(\w+)"$', re.MULTILINE)
_TENSORS: Final = re.compile(r"^input \[.*?^\]\noutput \[.*?^\]$", re.MULTILINE | re.DOTALL)


def configure(bundle: Bundle, staging: Path, backend: Backend) -> None:
    """Gives a copy of the bundle's `triton` folder the backend's configurations, and no more files than it wants."""
    if backend == Backend():
        return
    for graph in bundle.manifest.graphs().values():
        text = config(graph, bundle.manifest, backend)
        (staging / graph.name / "config.pbtxt").write_text(text, encoding="utf-8")
        if backend.name != "python":
            (staging / graph.name / str(bundle.manifest.version) / "model.py").unlink()


def check_compatible(new: Path, old: Path, live: int) -> None:
    """Of two configurations of a graph: `old`, which `live` is served with, and `new`, which would take its
    place. Raises InstallFailed where that version would not be served any more, or not as itself."""
    texts = [path.read_text(encoding="utf-8") for path in (old, new)]
    backends = [found[1] if (found := _BACKEND.search(text)) else "another" for text in texts]
    if backends[0] != backends[1]:
        raise InstallFailed(
            f"{old.parent} is served by Triton's {backends[0]} backend, and this would be for {backends[1]}: "
            "`recstream model repository --backend` makes the right form, or take another repository"
        )
    if backends[0] != "python" and _TENSORS.findall(texts[0]) != _TENSORS.findall(texts[1]):
        raise InstallFailed(
            f"{old.parent} serves version {live}, of other widths, and the {backends[0]} backend takes one width: "
            "retire that version first, or take another repository"
        )
    if any("trt_engine_cache_path" in text for text in texts):
        # One configuration names one folder, and in it TensorRT would take one version's engine for the other's.
        raise InstallFailed(
            f"{old.parent} serves version {live} with TensorRT engines that are kept, or would: engines of two "
            "versions cannot be told apart. Leave --engines out, or take another repository"
        )
