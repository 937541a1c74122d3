"""Time and memory to read a Parquet file of events, and to index it for training.

    bin/bench reading [--rows 5000000]

Writes the file to a temporary folder. It has string ids of half a million users and a hundred thousand items with long
tails, a timestamp, an action and a rating. Prints one line of JSON. Memory is measured above the start of the process.
"""

import argparse
import ctypes
import gc
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

from models.data.events import index_events
from profiles.actions import Actions, default_actions
from readers.interactions.reading import read_interactions


def write(path: Path, rows: int) -> None:
    """Writes the file, in row groups of half a million rows."""
    rng = np.random.default_rng(0)
    users, items = rng.zipf(1.3, rows) % 500_000, rng.zipf(1.2, rows) % 100_000
    columns = {
        "user_id": [f"user-{user:07}" for user in users],
        "item_id": [f"item-{item:06}" for item in items],
        "action": np.array(["view", "click", "purchase"])[rng.integers(0, 3, rows)],
        "timestamp": np.sort(rng.integers(1_600_000_000, 1_650_000_000, rows)),
        "rating": rng.integers(1, 6, rows).astype(np.float64),
    }
    pa.parquet.write_table(pa.table(columns), path, row_group_size=500_000)


def held_mb() -> float:
    """Returns the resident memory, after the allocators have released what they can."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Returns the peak memory of this process. getrusage would include that of its parent."""
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "events.parquet"
            write(path, arguments.rows)
            # Measured in another process, so that its memory does not include that of writing the file.
            subprocess.run([sys.executable, "-m", __spec__.name, "--file", str(path)], check=True)
        return
    before, started = held_mb(), time.process_time()
    rows, _ = read_interactions([arguments.file])
    read_seconds, read_peak = time.process_time() - started, peak_mb() - before
    held, started = held_mb() - before, time.process_time()
    known = index_events([rows], [], Actions(default_actions()))
    print(
        json.dumps(
            {
                "rows": len(known),
                "read_cpu_seconds": round(read_seconds, 1),
                "read_peak_mb": round(read_peak),
                "held_mb": round(held),
                "index_cpu_seconds": round(time.process_time() - started, 1),
                "machine": platform.processor() or platform.machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
