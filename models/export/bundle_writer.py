"""Writes a bundle: graphs, tokenizer, vocabulary, and the manifest last."""

import importlib.metadata
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from inference.bundle.bundle import ITEMS, MANIFEST, TOKENIZER, Manifest, checksum
from inference.repository.backends import SHIPPED, config
from models.encoders.load import Encoders
from models.export.graphs import Sizes, export, graphs
from models.network.recommender import Recommender
from models.training.settings import TrainSettings

SERVED: Final = Path(__file__).parent / "python_backend" / "model.py"
_LIBRARIES: Final = ("torch", "transformers", "onnx", "onnxruntime", "numpy")


def write_bundle(
    folder: Path,
    model: Recommender,
    encoders: Encoders,
    item_ids: Sequence[str],
    settings: TrainSettings,
    *,
    metrics: Mapping[str, float],
    fingerprint: str,
    texts_fingerprint: str = "",
    exported: Callable[[str], None] = lambda name: None,
) -> Manifest:
    """Writes the bundle to `folder`, whole or not at all: beside it first, then by one rename; what was
    there before is replaced. `item_ids` are those of the id embedding, in its order; `exported` is told of
    each graph.

    Raises ExportFailed where a graph does not compute what torch computes.
    """
    version = settings.version or int(time.time())
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        encoders.tokenizer.save(str(partial / TOKENIZER))
        (partial / ITEMS).write_text(json.dumps(list(item_ids), ensure_ascii=True), encoding="utf-8")
        shape = model.shape
        sizes = Sizes(
            shape.width,
            shape.channels,
            shape.actions,
            shape.items,
            encoders.text.vocabulary,
            encoders.tokens,
            shape.popularities,
        )
        model.eval()
        for graph, module in graphs(encoders, model, item_ids):
            place = partial / "triton" / graph.name
            export(graph, module, sizes, place / str(version) / "model.onnx")
            shutil.copyfile(SERVED, place / str(version) / "model.py")
            exported(graph.name)
        manifest = Manifest(
            version=version,
            width=shape.width,
            state_width=shape.channels,
            actions=tuple(settings.actions),
            history=settings.history,
            refold_every=settings.refold_every,
            text_tokens=sizes.tokens,
            popularity_half_lives_days=settings.popularity_half_lives_days,
            modalities=tuple(encoder.modality for encoder in encoders.media),
            metrics=dict(metrics),
            data_fingerprint=fingerprint,
            texts_fingerprint=texts_fingerprint,
            seeds=(settings.seed,),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
            files={},
        )
        write_configs(partial, manifest)
        manifest = manifest.model_copy(update={"files": checksums(partial)})
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def write_configs(folder: Path, manifest: Manifest) -> None:
    """Writes the graphs' configurations for each of Triton's backends into the bundle's folder."""
    for place, backend in SHIPPED.items():
        for graph in manifest.graphs().values():
            (folder / place / graph.name).mkdir(parents=True, exist_ok=True)
            (folder / place / graph.name / "config.pbtxt").write_text(
                config(graph, manifest, backend), encoding="utf-8"
            )


def checksums(folder: Path) -> dict[str, str]:
    """Of all files that are there, by path inside the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def replace_folder(partial: Path, folder: Path) -> None:
    """One folder takes the place of another, which is removed."""
    if not folder.exists():
        os.rename(partial, folder)
        return
    old = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    os.rename(folder, old)
    os.rename(partial, folder)
    shutil.rmtree(old)
