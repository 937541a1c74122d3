"""Writes the int8 form of a bundle: a bundle of its own, with a version of its own."""

import hashlib
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
from models.export.compression.rewrite import LEAST, rewrite
from models.export.graphs import inputs, sizes_of
from models.export.local_graphs import LocalGraphs

TOLERANCE: Final = 1e-4
_EVENTS: Final = 24
_CODE: Final = Path(__file__).parent

Judge = Callable[[Bundle], Mapping[str, float]]
"""Is given the int8 bundle before it takes its place. Returns figures for its manifest, or raises."""


def compression_code() -> str:
    """Digest of the code that makes int8 bundles."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(_CODE.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def write_int8(
    bundle: Bundle,
    folder: Path,
    judge: Judge = lambda int8: {},
    *,
    version: int | None = None,
    least: int = LEAST,
    compressed: Callable[[str], None] = lambda name: None,
) -> Manifest:
    """Writes `bundle` in int8 to `folder`, whole or not at all; what was there before is replaced. Its item vectors are
    others, and so it has another version: now, in Unix seconds, unless said otherwise. `compressed` is told of each
    graph. least: numbers of a weight that is rounded.

    Raises CompressionFailed, and whatever `judge` raises; then nothing is written.
    """
    manifest = bundle.manifest
    if manifest.precision != "float32":
        raise CompressionFailed(f"{bundle.folder} is in {manifest.precision} already")
    if folder.resolve() == bundle.folder.resolve():
        raise CompressionFailed(f"{folder} would take its own place: write to another folder")
    version = version or max(int(time.time()), manifest.version + 1)
    if version == manifest.version:
        raise CompressionFailed(f"version {version} is the bundle's own: its int8 form needs another")
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        for name in (TOKENIZER, ITEMS):
            shutil.copyfile(bundle.folder / name, partial / name)
        for graph in manifest.graphs():
            source, target = (
                place / "triton" / graph / str(number)
                for place, number in ((bundle.folder, manifest.version), (partial, version))
            )
            rewrite(source / "model.onnx", target / "model.onnx", least)
            shutil.copyfile(source / "model.py", target / "model.py")
            compressed(graph)
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
        _check_forms(int8)
        changed = changed.model_copy(update={"metrics": {**changed.metrics, **judge(int8)}})
        _write(partial, changed)
        replace_folder(partial, folder)
    except (ValueError, BundleRefused) as error:
        raise CompressionFailed(f"{bundle.folder} could not be compressed: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return changed


def _write(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=1), encoding="utf-8")


def _check_forms(int8: Bundle) -> None:
    """Step after step is the fold still. Raises CompressionFailed."""
    graphs, sizes = LocalGraphs(int8, threads=1), sizes_of(int8)
    given = inputs(USER_FOLD, sizes, 2, _EVENTS, np.random.default_rng(0))
    given["mask"] = np.ones((2, _EVENTS), np.float32)
    state, user, _ = graphs.run(USER_FOLD, *given.values())
    stepped = np.zeros_like(state)
    vector = np.zeros_like(user)
    for at in range(_EVENTS):
        event = (
            given["item_vectors"][:, at],
            *(given[name][:, at : at + 1] for name in ("actions", "gap_seconds", "values")),
        )
        stepped, vector = graphs.run(USER_STEP, stepped, *event)
    for name, one, other in (("state", stepped, state), ("user_vector", vector, user)):
        if not np.allclose(one, other, TOLERANCE, TOLERANCE):
            raise CompressionFailed(
                f"in int8 {name} of user_step and user_fold differ by {np.abs(one - other).max():.1e}"
            )
