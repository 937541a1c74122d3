"""Peak memory of training from a Parquet file on disk, and from the same file read into memory.

    bin/bench streaming_training [--rows 20000000] [--steps 5] [--folder DIR]

Writes the file to a temporary folder. It has string ids, half a million users with histories of very unequal length, a
hundred thousand items with a long tail, a timestamp, an action and a rating. Each way runs in its own process. It
prepares the data, runs an epoch of the encoder with a few steps for each chunk, and reads the data of the later stages
(the latest tenth, popularity, the sample of users). Prints one line of JSON for each way. `peak_mb` is the memory of
the whole process, including libraries (`base_mb`).
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

from models.data.events import index_events
from models.data.preparation import PreparationSettings
from models.data.shard_writer import write_shards
from models.data.shards import Shards
from models.data.training_data import InMemoryData, TrainingData
from models.network.recommender import Recommender, Shape
from models.network.sequence_model import ItemTable
from models.training.schedule import Schedule
from models.training.settings import TrainSettings
from models.training.stages.fit_encoder import _ChunkEpoch
from profiles.actions import Actions, default_actions
from readers.interactions.format_options import InteractionOptions
from readers.interactions.reading import read_interactions
from readers.parquet.user_partitions import partition_by_user

USERS, ITEMS, TEXT, GROUP = 500_000, 100_000, 32, 500_000


def write(path: Path, rows: int) -> None:
    """Writes the file, one row group at a time."""
    rng = np.random.default_rng(0)
    activity = rng.lognormal(0, 1.2, USERS)
    share = np.cumsum(activity / activity.sum())
    users = np.array([f"user-{user:07}" for user in range(USERS)])
    items = np.array([f"item-{item:06}" for item in range(ITEMS)])
    writer = None
    for start in range(0, rows, GROUP):
        n = min(GROUP, rows - start)
        columns = {
            "user_id": users[np.minimum(np.searchsorted(share, rng.random(n)), USERS - 1)],
            "item_id": items[rng.zipf(1.2, n) % ITEMS],
            "action": np.array(["view", "click", "purchase"])[rng.integers(0, 3, n)],
            "timestamp": 1_600_000_000 + start + np.arange(n),
            "rating": rng.integers(1, 6, n).astype(np.float64),
        }
        table = pa.table(columns)
        writer = writer or pa.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def in_memory(path: Path) -> TrainingData:
    rows, _ = read_interactions([path])
    return InMemoryData(index_events([rows], [], Actions(default_actions())))


def on_disk(path: Path, rows: int, settings: TrainSettings) -> TrainingData:
    folder, form = path.parent / "shards", InteractionOptions()
    partitions = partition_by_user([path], folder, form, settings.streaming.shard_rows)
    actions = Actions(default_actions())
    write_shards(partitions.tables(form), [], actions, PreparationSettings(), folder, "bench", rows)
    found = Shards.read(folder, "bench", settings.streaming.sample_rows)
    if found is None:
        raise RuntimeError("no shards were written")
    return found


def epoch(training_data: TrainingData, settings: TrainSettings, steps: int) -> int:
    """Trains so many steps on each chunk. Returns the number of chunks."""
    n, rng = len(training_data.item_ids), np.random.default_rng(0)
    scales = training_data.scales()
    shape = Shape(
        text_width=TEXT,
        width=settings.width,
        channels=settings.channels,
        hidden=settings.hidden,
        items=n,
        actions=len(training_data.action_names),
        value_mean=scales.means,
        value_scale=scales.deviations,
        value_range=scales.range,
        popularities=len(settings.popularity_half_lives_days),
        temperature=settings.temperature,
    )
    model = Recommender(shape, settings.dropout, settings.id_dropout)
    table = ItemTable(torch.randn(n, TEXT), torch.arange(1, n + 1))
    parameters = [*model.item.parameters(), *model.user.parameters(), *model.ranker.long_term.parameters()]
    schedule, parts = Schedule(parameters, 1e-3, 0.0, 1), 0
    for part, _ in training_data.chunks(rng):
        whole = _ChunkEpoch(part, settings, rng)
        for chosen in whole.batches[:steps]:
            schedule.step(whole.loss(model, table, chosen), 1e-6)
        parts += 1
    return parts


def peak_mb() -> int:
    """Returns the peak memory of this process. getrusage would include that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1000


def measure(way: str, path: Path, rows: int, steps: int) -> dict[str, object]:
    torch.set_num_threads(1)
    settings = TrainSettings()
    base, started = peak_mb(), time.monotonic()
    training_data = in_memory(path) if way == "memory" else on_disk(path, rows, settings)
    read, read_peak = time.monotonic() - started, peak_mb()
    parts = epoch(training_data, settings, steps)
    epoch_peak = peak_mb()
    latest = training_data.split_latest(settings.held_out)
    if latest is not None:
        histories = [latest.popularity(days) for days in settings.popularity_half_lives_days]
        training_data.sample()
        del histories
    return {
        "way": way,
        "rows": len(training_data),
        "parts": parts,
        "steps": parts * steps,
        "base_mb": base,
        "after_reading_mb": read_peak,
        "after_epoch_mb": epoch_peak,
        "peak_mb": peak_mb(),
        "reading_seconds": round(read),
        "seconds": round(time.monotonic() - started),
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="folder for the temporary file and shards; default: the system's"
    )
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.file is not None:
        print(json.dumps(measure(asked.way, asked.file, asked.rows, asked.steps)), flush=True)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder) / "events.parquet"
        write(path, asked.rows)
        for way in ("disk", "memory"):
            command = [sys.executable, "-m", __spec__.name, "--file", str(path), "--way", way]
            subprocess.run([*command, "--rows", str(asked.rows), "--steps", str(asked.steps)], check=True)


if __name__ == "__main__":
    main()
