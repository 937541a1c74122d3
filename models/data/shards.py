"""Training data on disk, in shards of whole users: memory does not grow with the number of events.

Memory holds one shard, the first event of each item, and a bounded sample of users for the stages after the encoder.
A hash of the user picks the shard. An epoch reads the shards in random order and shuffles the histories within each.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from models.data.events import Events, Ints
from models.data.popularity import PopularityHistory
from models.data.training_data import ValueScales

SHARD_FORMAT: Final = 1
"""Increase it when the same events would be written differently. Older shards are then written again."""
MANIFEST: Final = "manifest.json"
ARRAYS: Final = "items.npz"
NEVER: Final = np.iinfo(np.int64).max
# Maximum number of moments at which popularity is stored. They are within the held-out events, where it is read.
_SNAPSHOTS: Final = 64
_MAX_NUMBERS: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Shards:
    """A folder that `write_shards` wrote; see `models.data.training_data.TrainingData`.

    Attributes:
        folder: folder of the shards.
        item_ids: by item index.
        action_names: by action index.
        repeats: for each action, whether its item may be recommended again.
        rows: number of events of each shard.
        item_index: index of each item code of the shards [codes].
        first_ms: time of each item's first event [items], Unix milliseconds; NEVER without events.
        times: an even sample of the events' times, ascending.
        value_scales: scales of all events' values.
        digest: digest of all events.
        sample_rows: approximate number of events in `sample`.
    """

    folder: Path
    item_ids: list[str]
    action_names: tuple[str, ...]
    repeats: tuple[bool, ...]
    rows: tuple[int, ...]
    item_index: Ints
    first_ms: Ints
    times: Ints
    value_scales: ValueScales
    digest: str
    sample_rows: int

    @classmethod
    def read(cls, folder: Path, key: str, sample_rows: int) -> "Shards | None":
        """The shards of this folder. None: there are none that can be read, or they were written under another key or
        format."""
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["key"] != key or manifest.get("format") != SHARD_FORMAT:
                return None
            with (folder / ARRAYS).open("rb") as opened, np.load(opened) as arrays:
                item_index, first_ms, times = arrays["item_index"], arrays["first_ms"], arrays["times"]
        except Exception:  # what is missing or damaged, however, is written again
            return None
        scales = manifest["scales"]
        return cls(
            folder=folder,
            item_ids=manifest["item_ids"],
            action_names=tuple(manifest["action_names"]),
            repeats=tuple(manifest["repeats"]),
            rows=tuple(manifest["rows"]),
            item_index=item_index,
            first_ms=first_ms,
            times=times,
            value_scales=ValueScales(
                tuple(scales["means"]), tuple(scales["deviations"]), tuple(scales["range"])
            ),
            digest=manifest["digest"],
            sample_rows=sample_rows,
        )

    @property
    def timed(self) -> bool:
        """Always true: files without times are never trained on from disk."""
        return True

    def __len__(self) -> int:
        return sum(self.rows)

    def shard(self, number: int) -> Events:
        """The events of a shard. Users are indexed within it, items within all shards."""
        table = pa.parquet.read_table(
            shard_path(self.folder, number), read_dictionary=["user"], use_threads=False, pre_buffer=False
        )
        users: Any = table.column("user").combine_chunks()
        actions = table.column("action").to_numpy().astype(np.int64)
        return Events(
            user_ids=users.dictionary.to_pylist(),
            item_ids=self.item_ids,
            action_names=self.action_names,
            users=users.indices.to_numpy().astype(np.int64),
            items=self.item_index[table.column("item").to_numpy()],
            actions=actions,
            time_ms=table.column("time_ms").to_numpy(),
            values=table.column("value").to_numpy(),
            positive=table.column("positive").to_numpy(),
            repeats=np.array(self.repeats, np.bool_)[actions],
        )

    def all(self) -> Iterator[Events]:
        """All shards, one after the other."""
        return (self.shard(number) for number in range(len(self.rows)))

    def chunks(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        """All shards, in random order."""
        for number in rng.permutation(len(self.rows)).tolist():
            yield self.shard(number), self.rows[number] / len(self)

    def seen_items(self) -> NDArray[np.bool_]:
        return self.first_ms < NEVER

    def scales(self) -> ValueScales:
        return self.value_scales

    def split_latest(self, share: float) -> "ShardedSplit | None":
        """Splits at a sampled time: the share is met to about a thousandth."""
        since = int(self.times[min(int(len(self.times) * (1 - share)), len(self.times) - 1)])
        if not share or since == self.times[0]:
            return None
        split = ShardedSplit(self, since, self.sample())
        return split if split.held_out.any() and not split.held_out.all() else None

    def sample(self) -> Events:
        """Whole users, each with the same probability. They are the same users each time."""
        rng = np.random.default_rng(len(self))
        share = min(1.0, self.sample_rows / len(self))
        drawn = []
        for events in self.all():
            chosen = rng.random(len(events.user_ids)) < share
            drawn.append(events.take(np.flatnonzero(chosen[events.users])))
        return concatenated(drawn)

    def newest_ms(self) -> int | None:
        times = (
            pa.parquet.read_table(shard_path(self.folder, number), columns=["time_ms"], use_threads=False)
            for number, rows in enumerate(self.rows)
            if rows
        )
        return max(int(one.column("time_ms").to_numpy().max()) for one in times)

    def fingerprint(self) -> str:
        """Digest of the shards. It differs from that of the same events in memory."""
        return self.digest


@dataclass(frozen=True, slots=True)
class ShardedSplit:
    """The shards' events before and since a moment; see `models.data.training_data.HeldOutSplit`.

    `events` is the sample of users.
    """

    shards: Shards
    since_ms: int
    events: Events

    @property
    def earlier(self) -> "EarlierShardEvents":
        return EarlierShardEvents(self.shards, self.since_ms)

    @property
    def seen_items(self) -> NDArray[np.bool_]:
        return self.shards.first_ms < self.since_ms

    @property
    def held_out(self) -> NDArray[np.bool_]:
        return self.events.time_ms >= self.since_ms

    def popularity(self, half_life_days: float) -> PopularityHistory:
        items = len(self.shards.item_ids)
        later = self.shards.times[self.shards.times >= self.since_ms]
        count = max(1, min(_SNAPSHOTS, len(later), _MAX_NUMBERS // max(items, 1)))
        times = later[np.linspace(0, len(later), count, endpoint=False).astype(np.int64)]
        return PopularityHistory(self.shards.all(), items, half_life_days, times)


@dataclass(frozen=True, slots=True)
class EarlierShardEvents:
    """The shards' events before a moment."""

    shards: Shards
    before_ms: int

    def chunks(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        for events, share in self.shards.chunks(rng):
            rows = np.flatnonzero(events.time_ms < self.before_ms)
            if len(rows):
                yield events.take(rows), share


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{number:03}.parquet"


def concatenated(parts: Sequence[Events]) -> Events:
    """Concatenates events of different users, in ascending time.

    Raises:
        ValueError: there are no parts.
    """
    if not parts:
        raise ValueError("no parts to concatenate")
    starts = np.cumsum([0, *(len(part.user_ids) for part in parts)])
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("items", "actions", "time_ms", "values", "positive", "repeats")
    }
    users = np.concatenate([part.users + start for part, start in zip(parts, starts, strict=False)])
    whole = replace(
        parts[0], user_ids=[name for part in parts for name in part.user_ids], users=users, **columns
    )
    return whole.take(np.argsort(whole.time_ms, kind="stable"))
