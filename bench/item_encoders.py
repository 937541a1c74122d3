"""Throughput and size of the pretrained item encoders, in torch and in ONNX Runtime, on one thread.

    make weights; bin/bench item_encoders

Texts are those of the films of MovieLens-100K, as the catalogue embeds them. Images are random JPEG files of 640 x 480
pixels.
"""

import io
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from catalog.items.items import from_proto
from evaluation.data import text_attributes
from models.encoders.load import Encoders, load_encoders
from models.encoders.media import ImageEncoder
from models.encoders.settings import EncoderSettings
from readers.packaged import movielens

TEXTS = 192
IMAGES = 32
BATCH = 16


def main() -> None:
    """Measures and prints one table."""
    torch.set_num_threads(1)
    table = Table(
        "encoder", "width", "load s", "torch items/s", "ONNX MB", "ONNX load s", "ONNX items/s", "apart"
    )
    films = movielens.items()
    read = text_attributes(films)
    texts = [from_proto(film).text(read) for film in films]
    rng = np.random.default_rng(0)
    sample = [texts[i] for i in rng.choice(len(texts), TEXTS, replace=False)]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("all-MiniLM-L6-v2", "SmolLM2-135M"):
            table.add_row(name, *_texts(name, sample, Path(folder) / "text.onnx"))
        table.add_row("EfficientNet-Lite0", *_images(rng, Path(folder) / "image.onnx"))
    Console(width=120).print(table)


def _texts(name: str, texts: list[str], path: Path) -> list[str]:
    began = time.monotonic()
    encoders = load_encoders(EncoderSettings(text_model=name))
    loaded = time.monotonic() - began
    batches = [_tokens(encoders, texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    return _measure(encoders.text, encoders.text.width, loaded, batches, ["ids", "mask"], path)


def _images(rng: np.random.Generator, path: Path) -> list[str]:
    began = time.monotonic()
    encoder = ImageEncoder("efficientnet-lite0")
    loaded = time.monotonic() - began
    files = []
    for _ in range(IMAGES):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (480, 640, 3), np.uint8)).save(out, "JPEG")
        files.append(out.getvalue())
    began = time.monotonic()
    pixels = np.stack([encoder.prepare(file) for file in files])
    print(
        f"an image of {len(files[0]) >> 10} KiB is prepared in {(time.monotonic() - began) / IMAGES * 1e3:.1f} ms"
    )
    batches = [[pixels[i : i + BATCH]] for i in range(0, IMAGES, BATCH)]
    return _measure(encoder.module, encoder.width, loaded, batches, ["pixels"], path)


def _measure(
    module: torch.nn.Module,
    width: int,
    loaded: float,
    batches: list[list[np.ndarray]],
    names: list[str],
    path: Path,
) -> list[str]:
    with torch.inference_mode():
        wanted, rate = _rate(lambda batch: module(*map(torch.from_numpy, batch)).numpy(), batches)
    free = {name: {0: "b", 1: "t"} if len(names) > 1 else {0: "b"} for name in names}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, batches[0])),
            str(path),
            input_names=names,
            output_names=["vector"],
            dynamic_axes=free,
            opset_version=17,
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    began = time.monotonic()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    opened = time.monotonic() - began
    found, onnx_rate = _rate(
        lambda batch: session.run(None, dict(zip(names, batch, strict=True)))[0], batches
    )
    apart = max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True))
    size = path.stat().st_size / 1e6
    return [
        str(width), f"{loaded:.1f}", f"{rate:.1f}", f"{size:.1f}", f"{opened:.1f}", f"{onnx_rate:.1f}", f"{apart:.0e}",
    ]  # fmt: skip


def _rate(
    run: Callable[[list[np.ndarray]], np.ndarray], batches: list[list[np.ndarray]]
) -> tuple[list[np.ndarray], float]:
    run(batches[0])
    began = time.monotonic()
    found = [run(batch) for batch in batches]
    return found, sum(len(batch[0]) for batch in batches) / (time.monotonic() - began)


def _tokens(encoders: Encoders, texts: list[str]) -> list[np.ndarray]:
    rows = [encoding.ids for encoding in encoders.tokenizer.encode_batch(texts)]
    shape = len(rows), max(map(len, rows))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return [ids, mask]


if __name__ == "__main__":
    main()
