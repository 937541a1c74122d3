"""Checks that a version can share a model repository with others. All versions of a graph have one configuration."""

import re
from pathlib import Path
from typing import Final

from inference.bundle.bundle import Bundle
from inference.errors import InstallFailed
from inference.repository.backends import Backend, config

_BACKEND: Final = re.compile(r'^backend: "(\w+)"$', re.MULTILINE)
_TENSORS: Final = re.compile(r"^input \[.*?^\]\noutput \[.*?^\]$", re.MULTILINE | re.DOTALL)


def configure(bundle: Bundle, staging: Path, backend: Backend) -> None:
    """Writes the backend's configurations into a copy of the bundle's `triton` folder, and removes files that the
    backend does not use."""
    if backend == Backend():
        return
    for graph in bundle.manifest.graphs().values():
        text = config(graph, bundle.manifest, backend)
        (staging / graph.name / "config.pbtxt").write_text(text, encoding="utf-8")
        if backend.name != "python":
            (staging / graph.name / str(bundle.manifest.version) / "model.py").unlink()


def check_compatible(new: Path, old: Path, live: int) -> None:
    """Checks that a graph's configuration can be replaced.

    Args:
        new: The new configuration file.
        old: The present configuration file.
        live: A version that is served with it.

    Raises:
        InstallFailed: With the new configuration, that version would no longer be served, or not correctly.
    """
    texts = [path.read_text(encoding="utf-8") for path in (old, new)]
    backends = [found[1] if (found := _BACKEND.search(text)) else "another" for text in texts]
    if backends[0] != backends[1]:
        raise InstallFailed(
            f"{old.parent} is served by Triton's {backends[0]} backend, and this version is for {backends[1]}: "
            "write it with `recstream model repository --backend`, or use another repository"
        )
    if backends[0] != "python" and _TENSORS.findall(texts[0]) != _TENSORS.findall(texts[1]):
        raise InstallFailed(
            f"{old.parent} serves version {live}, which has other widths, and the {backends[0]} backend takes one "
            "width: retire that version first, or use another repository"
        )
    if any("trt_engine_cache_path" in text for text in texts):
        # A configuration names one folder, in which TensorRT would confuse the engines of two versions.
        raise InstallFailed(
            f"{old.parent} serves version {live}, and cached TensorRT engines of two versions cannot be told apart: "
            "leave --engines out, or use another repository"
        )
