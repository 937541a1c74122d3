"""Trains the model of the demo once, on the past, in another process."""

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from rich.console import Console

from cli.errors import CommandError
from inference.bundle.bundle import MANIFEST
from readers.interactions.interactions import Interactions
from recstream.v1 import item_pb2


async def ensure(
    past: Interactions, films: Sequence[item_pb2.Item], bundle: Path, folder: Path, console: Console
) -> None:
    """Trains, unless there is a bundle of exactly this data. Raises CommandError.

    Training runs in another process, because it needs torch and a gigabyte of memory, which the rest of the demo does
    not need.
    """
    files = folder / "past"
    files.mkdir(parents=True, exist_ok=True)
    interactions, items = files / "interactions.parquet", files / "items.jsonl"
    pa.parquet.write_table(
        pa.table(
            {
                "user_id": past.user_ids,
                "item_id": past.item_ids,
                "action": past.actions,
                "timestamp": past.time_ms,
                "rating": past.values,
            }
        ),
        interactions,
    )
    items.write_text("".join(json.dumps(_row(film)) + "\n" for film in films))
    fingerprint = hashlib.blake2b(interactions.read_bytes() + items.read_bytes(), digest_size=16).hexdigest()
    trained = bundle.with_suffix(".trained-on")
    if (bundle / MANIFEST).exists() and trained.exists() and trained.read_text() == fingerprint:
        console.print(f"Using the model of an earlier run: {bundle}", highlight=False)
        return
    console.print(f"Training on {len(past):,} ratings (only the first time)", highlight=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "train", "--interactions", str(interactions), "--items", str(items),
        "--bundle", str(bundle), stdout=sys.stderr if console.stderr else None,
    )  # fmt: skip
    try:
        if await process.wait():
            raise CommandError("training failed", "its output is above")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    trained.write_text(fingerprint)


def _row(film: item_pb2.Item) -> dict[str, object]:
    return {
        "item_id": film.item_id,
        "title": film.title,
        "categories": list(film.categories),
        **{name: _cell(attribute.texts or attribute.numbers) for name, attribute in film.attributes.items()},
    }


def _cell(values: Sequence[str] | Sequence[float]) -> object:
    return values[0] if len(values) == 1 else list(values)
