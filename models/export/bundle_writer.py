"""Writes a bundle: graphs, tokenizer, vocabulary, and the manifest last."""

import importlib.metadata
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from inference.bundle.bundle import ITEMS, MANIFEST, TOKENIZER, Manifest, checksum
from inference.repository.backends import SHIPPED, config
from models.encoders.load import Encoders
from models.export.graphs import Sizes, export, graphs
from models.network.recommender import Recommender

PYTHON_BACKEND: Final = Path(__file__).parent / "python_backend" / "model.py"
_LIBRARIES: Final = ("torch", "transformers", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMetadata:
    """What the manifest says besides the model's sizes.

    Attributes:
        version: the model version; None: now, in Unix seconds.
        actions: names, in the order of the model's action indices.
        history: N, events that a state always covers.
        refold_every: K, events between two refolds.
        popularity_half_lives_days: half-lives of the ranker's popularities.
        seed: seed of the training.
        metrics: figures of the training, by name.
        data_fingerprint: fingerprint of the events.
        texts_fingerprint: fingerprint of the items' texts; empty if they do not matter.
        text_attributes: attributes whose texts are part of the items' texts.
    """

    version: int | None
    actions: tuple[str, ...]
    history: int
    refold_every: int
    popularity_half_lives_days: tuple[float, ...]
    seed: int
    metrics: Mapping[str, float]
    data_fingerprint: str
    texts_fingerprint: str = ""
    text_attributes: tuple[str, ...] = ()


def write_bundle(
    folder: Path,
    model: Recommender,
    encoders: Encoders,
    item_ids: Sequence[str],
    metadata: BundleMetadata,
    on_graph: Callable[[str], None] = lambda name: None,
) -> Manifest:
    """Writes the bundle to `folder`, completely or not at all. It replaces what was there.

    It is written to a folder beside it first, which is then renamed.

    Args:
        folder: the bundle's folder.
        model: the trained model, on the CPU.
        encoders: the frozen encoders of the items.
        item_ids: items of the id embedding, in order.
        metadata: the rest of the manifest.
        on_graph: called with the name of each graph that was exported.

    Returns:
        The manifest.

    Raises:
        ExportFailed: a graph does not compute what torch computes.
    """
    version = metadata.version or int(time.time())
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        encoders.tokenizer.save(str(partial / TOKENIZER))
        (partial / ITEMS).write_text(json.dumps(list(item_ids), ensure_ascii=True), encoding="utf-8")
        shape = model.shape
        sizes = Sizes(
            width=shape.width,
            channels=shape.channels,
            actions=shape.actions,
            items=shape.items,
            vocabulary=encoders.text.vocabulary,
            tokens=encoders.tokens,
            popularities=shape.popularities,
        )
        model.eval()
        for graph, module in graphs(encoders, model, item_ids):
            graph_folder = partial / "triton" / graph.name / str(version)
            export(graph, module, sizes, graph_folder / "model.onnx")
            shutil.copyfile(PYTHON_BACKEND, graph_folder / "model.py")
            on_graph(graph.name)
        manifest = Manifest(
            version=version,
            width=shape.width,
            state_width=shape.channels,
            actions=metadata.actions,
            history=metadata.history,
            refold_every=metadata.refold_every,
            text_tokens=sizes.tokens,
            text_attributes=metadata.text_attributes,
            popularity_half_lives_days=metadata.popularity_half_lives_days,
            modalities=tuple(encoder.modality for encoder in encoders.media),
            metrics=dict(metadata.metrics),
            data_fingerprint=metadata.data_fingerprint,
            texts_fingerprint=metadata.texts_fingerprint,
            seeds=(metadata.seed,),
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
    for subfolder, backend in SHIPPED.items():
        for graph in manifest.graphs().values():
            (folder / subfolder / graph.name).mkdir(parents=True, exist_ok=True)
            (folder / subfolder / graph.name / "config.pbtxt").write_text(
                config(graph, manifest, backend), encoding="utf-8"
            )


def checksums(folder: Path) -> dict[str, str]:
    """Checksums of all files of the folder, by their path inside it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def replace_folder(new: Path, folder: Path) -> None:
    """Renames `new` to `folder`. A folder that was there is removed."""
    if not folder.exists():
        os.rename(new, folder)
        return
    old = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    os.rename(folder, old)
    os.rename(new, folder)
    shutil.rmtree(old)
