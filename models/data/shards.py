"""Events on disk, in shards of whole users: a training whose memory does not grow with their number.

What is held is one shard, what is known of each item, and a bounded sample of users for the stages after the encoder.
Users are in shards by a hash, so an epoch that takes the shards in a random order, and the histories of each in
another, is shuffled as far as one shard reaches.
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

MANIFEST: Final = "manifest.json"
ARRAYS: Final = "items.npz"
NEVER: Final = np.iinfo(np.int64).max
# Moments at which popularity is kept, all of them within the latest events, where it is asked for.
_MOMENTS: Final = 64
_MOST_NUMBERS: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Shards:
    """What `write_shards` left in a folder.

    rows: of each shard. order: for each item code of the shards its index in item_ids; first_ms: by index, when its
    first event was, NEVER where it has none. times: moments of events, evenly drawn, ascending. sample_rows: how many
    events a sample of users holds, about.
    """

    folder: Path
    item_ids: list[str]
    action_names: tuple[str, ...]
    repeats: tuple[bool, ...]
    rows: tuple[int, ...]
    order: Ints
    first_ms: Ints
    times: Ints
    value_scales: ValueScales
    digest: str
    sample_rows: int

    @classmethod
    def read(cls, folder: Path, key: str, sample_rows: int) -> "Shards | None":
        """Those of this folder; None where there are none, or they were made of something else: another key."""
        try:
            said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if said["key"] != key:
            return None
        with np.load(folder / ARRAYS) as arrays:
            order, first_ms, times = arrays["order"], arrays["first_ms"], arrays["times"]
        scales = said["scales"]
        return cls(
            folder,
            said["item_ids"],
            tuple(said["action_names"]),
            tuple(said["repeats"]),
            tuple(said["rows"]),
            order,
            first_ms,
            times,
            ValueScales(tuple(scales["means"]), tuple(scales["deviations"]), tuple(scales["range"])),
            said["digest"],
            sample_rows,
        )

    def __len__(self) -> int:
        return sum(self.rows)

    def shard(self, place: int) -> Events:
        """Its events, with users of its own and the items of all."""
        table = pa.parquet.read_table(
            path(self.folder, place), read_dictionary=["user"], use_threads=False, pre_buffer=False
        )
        users: Any = table.column("user").combine_chunks()
        actions = table.column("action").to_numpy().astype(np.int64)
        return Events(
            users.dictionary.to_pylist(),
            self.item_ids,
            self.action_names,
            users.indices.to_numpy().astype(np.int64),
            self.order[table.column("item").to_numpy()],
            actions,
            table.column("time_ms").to_numpy(),
            table.column("value").to_numpy(),
            table.column("positive").to_numpy(),
            np.array(self.repeats, np.bool_)[actions],
        )

    def all(self) -> Iterator[Events]:
        """One shard after the other."""
        return (self.shard(place) for place in range(len(self.rows)))

    def parts(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        """The shards in another order each time."""
        for place in rng.permutation(len(self.rows)).tolist():
            yield self.shard(place), self.rows[place] / len(self)

    def known(self) -> NDArray[np.bool_]:
        return self.first_ms < NEVER

    def scales(self) -> ValueScales:
        return self.value_scales

    def latest(self, share: float) -> "LatestOfShards | None":
        """By the drawn moments: the share is met to about a thousandth."""
        since = int(self.times[min(int(len(self.times) * (1 - share)), len(self.times) - 1)])
        if not share or since == self.times[0]:
            return None
        latest = LatestOfShards(self, since, self.sample())
        return latest if latest.held.any() and not latest.held.all() else None

    def sample(self) -> Events:
        """Each user with the same chance, drawn once for all."""
        rng = np.random.default_rng(len(self))
        share = min(1.0, self.sample_rows / len(self))
        drawn = []
        for events in self.all():
            chosen = rng.random(len(events.user_ids)) < share
            drawn.append(events.take(np.flatnonzero(chosen[events.users])))
        return joined(drawn)

    def newest_ms(self) -> int | None:
        times = (
            pa.parquet.read_table(path(self.folder, place), columns=["time_ms"], use_threads=False)
            for place, rows in enumerate(self.rows)
            if rows
        )
        return max(int(one.column("time_ms").to_numpy().max()) for one in times)

    def fingerprint(self) -> str:
        """Of the shards' own: it is not that of the same events in memory."""
        return self.digest


@dataclass(frozen=True, slots=True)
class LatestOfShards:
    """The shards' events on both sides of a moment, see `models.data.training_data.Latest`.
    events: the sample of users."""

    shards: Shards
    since_ms: int
    events: Events

    @property
    def earlier(self) -> "EarlierOfShards":
        return EarlierOfShards(self.shards, self.since_ms)

    @property
    def known(self) -> NDArray[np.bool_]:
        return self.shards.first_ms < self.since_ms

    @property
    def held(self) -> NDArray[np.bool_]:
        return self.events.time_ms >= self.since_ms

    def popularity(self, half_life_days: float) -> PopularityHistory:
        items = len(self.shards.item_ids)
        later = self.shards.times[self.shards.times >= self.since_ms]
        count = max(1, min(_MOMENTS, len(later), _MOST_NUMBERS // max(items, 1)))
        times = later[np.linspace(0, len(later), count, endpoint=False).astype(np.int64)]
        return PopularityHistory(self.shards.all(), items, half_life_days, times)


@dataclass(frozen=True, slots=True)
class EarlierOfShards:
    """The events before a moment."""

    shards: Shards
    before_ms: int

    def parts(self, rng: np.random.Generator) -> Iterator[tuple[Events, float]]:
        for events, share in self.shards.parts(rng):
            rows = np.flatnonzero(events.time_ms < self.before_ms)
            if len(rows):
                yield events.take(rows), share


def path(folder: Path, place: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{place:03}.parquet"


def joined(parts: Sequence[Events]) -> Events:
    """Events of different users, in ascending time. Raises ValueError where there are no parts."""
    if not parts:
        raise ValueError("nothing to join")
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
