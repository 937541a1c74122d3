"""Writes the int8 form of a bundle: a bundle of its own, with its own version."""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from inference.bundle.bundle import ITEMS, MANIFEST, TOKENIZER, Bundle, Manifest, read
from inference.bundle.graphs import USER_FOLD, USER_STEP
from inference.errors import BundleRefused
from models.errors import CompressionFailed
from models.export.bundle_writer import checksums, replace_folder, write_configs
from models.export.compression.int8_graph import MIN_WEIGHT_NUMBERS, quantize_graph
from models.export.graphs import random_inputs, sizes_of
from models.export.local_graphs import LocalGraphs

COMPRESSION_FORMAT: Final = 1
"""Part of the key of every cached int8 bundle. Increase it when the same bundle would be compressed differently."""

TOLERANCE: Final = 1e-4
_EVENTS: Final = 24

QualityGate = Callable[[Bundle], Mapping[str, float]]
"""Judges the int8 bundle before it replaces anything: returns metrics for its manifest, or raises."""


def write_int8(
    bundle: Bundle,
    folder: Path,
    quality_gate: QualityGate = lambda int8: {},
    *,
    version: int | None = None,
    min_numbers: int = MIN_WEIGHT_NUMBERS,
    on_graph: Callable[[str], None] = lambda name: None,
) -> Manifest:
    """Writes `bundle` in int8 to `folder`, completely or not at all. It replaces what was there.

    Args:
        bundle: the float32 bundle.
        folder: another folder than the bundle's.
        quality_gate: see `QualityGate`.
        version: version of the int8 bundle; None: now, in Unix seconds. Its item vectors differ from the bundle's, so
            its version must differ too.
        min_numbers: size of the smallest weight that is rounded, in numbers.
        on_graph: called with the name of each graph that was compressed.

    Returns:
        The int8 bundle's manifest.

    Raises:
        CompressionFailed: the bundle cannot be compressed.
        Exception: what `quality_gate` raises. Nothing is written then.
    """
    manifest = bundle.manifest
    if manifest.precision != "float32":
        raise CompressionFailed(f"{bundle.folder} is {manifest.precision} already")
    if folder.resolve() == bundle.folder.resolve():
        raise CompressionFailed(f"{folder} is the bundle's own folder: write to another one")
    version = version or max(int(time.time()), manifest.version + 1)
    if version == manifest.version:
        raise CompressionFailed(f"version {version} is the bundle's own: its int8 form needs another one")
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        for name in (TOKENIZER, ITEMS):
            shutil.copyfile(bundle.folder / name, partial / name)
        for graph in manifest.graphs():
            source, target = (
                base / "triton" / graph / str(number)
                for base, number in ((bundle.folder, manifest.version), (partial, version))
            )
            quantize_graph(source / "model.onnx", target / "model.onnx", min_numbers)
            shutil.copyfile(source / "model.py", target / "model.py")
            on_graph(graph)
        changed = manifest.model_copy(
            update={
                "version": version,
                "precision": "int8",
                "compressed_from": manifest.version,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        write_configs(partial, changed)
        changed = changed.model_copy(update={"files": checksums(partial)})
        _write(partial, changed)
        int8 = read(partial)
        _check_step_equals_fold(int8)
        changed = changed.model_copy(update={"metrics": {**changed.metrics, **quality_gate(int8)}})
        _write(partial, changed)
        replace_folder(partial, folder)
    except (ValueError, BundleRefused) as error:
        raise CompressionFailed(f"{bundle.folder} cannot be compressed: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return changed


def _write(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=1), encoding="utf-8")


def _check_step_equals_fold(int8: Bundle) -> None:
    """Raises CompressionFailed if steps over a history do not give its fold."""
    graphs, sizes = LocalGraphs(int8, threads=1), sizes_of(int8)
    inputs = random_inputs(USER_FOLD, sizes, 2, _EVENTS, np.random.default_rng(0))
    inputs["mask"] = np.ones((2, _EVENTS), np.float32)
    folded_state, folded_vector, _ = graphs.run(USER_FOLD, *inputs.values())
    state = np.zeros_like(folded_state)
    vector = np.zeros_like(folded_vector)
    for at in range(_EVENTS):
        event = (
            inputs["item_vectors"][:, at],
            *(inputs[name][:, at : at + 1] for name in ("actions", "gap_seconds", "values")),
        )
        state, vector = graphs.run(USER_STEP, state, *event)
    for name, stepped, folded in (
        ("state", state, folded_state),
        ("user_vector", vector, folded_vector),
    ):
        if not np.allclose(stepped, folded, TOLERANCE, TOLERANCE):
            raise CompressionFailed(
                f"in int8 {name} of user_step and user_fold differ by {np.abs(stepped - folded).max():.1e}"
            )
