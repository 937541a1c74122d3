"""Writes the shards of `models.data.shards`, one table of whole users at a time."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from models.atomic_write import atomic_write
from models.data.events import Events, InteractionTable, Ints, ItemText, index_events
from models.data.preparation import PreparationReport, PreparationSettings, Step, prepare
from models.data.shards import ARRAYS, MANIFEST, NEVER, SHARD_FORMAT, shard_path
from models.data.training_data import ValueScales, value_sums
from models.errors import NothingToLearn, PreparationImpossible
from profiles.actions import Actions

# Number of times that are sampled, to know where the latest share of the events begins.
_SAMPLED_TIMES: Final = 1_000_000


def write_shards(
    tables: Iterable[InteractionTable],
    items: Sequence[ItemText],
    actions: Actions,
    preparation: PreparationSettings,
    folder: Path,
    key: str,
    rows: int,
) -> PreparationReport:
    """Writes a shard for each table, after the same preparation as in memory. The manifest is written last: a folder
    without it is not complete.

    Args:
        tables: no user occurs in two of them.
        items: as for `models.data.events.index_events`.
        actions: the configured actions.
        preparation: what to leave out.
        folder: where to write; it exists.
        key: identifies what the shards are made of; see `Shards.read`.
        rows: approximate number of rows in all tables.

    Raises:
        NothingToLearn: no event is left.
        PreparationImpossible: the preparation needs all events at once.
    """
    if preparation.min_item_events > 1:
        raise PreparationImpossible(
            "train.preparation.min_item_events counts over all users, and a training from disk never has all of them "
            "in memory: set it to 0, or raise train.streaming.from_rows above the number of rows"
        )
    (folder / MANIFEST).unlink(missing_ok=True)
    summary = _Summary(Actions(actions), every=max(1, rows // _SAMPLED_TIMES))
    report = PreparationReport(0)
    for table in tables:
        try:
            known = index_events([table], (), actions)
        except NothingToLearn:
            continue
        prepared = prepare(known, np.ones(len(known), np.bool_), preparation, actions)
        _add(report, prepared.report)
        summary.fingerprints.append(known.fingerprint())
        kept = known.take(np.flatnonzero(prepared.keep))
        if len(kept):
            _write(kept, summary.item_codes(kept), shard_path(folder, len(summary.rows)))
            summary.add(kept)
    if not summary.rows:
        raise NothingToLearn(
            "no event is left to train on: none has a configured action, or the preparation left out all of them"
        )
    summary.write(items, folder, key)
    return report


def _write(kept: Events, codes: Ints, file: Path) -> None:
    users = pa.DictionaryArray.from_arrays(pa.array(kept.users, pa.int32()), pa.array(kept.user_ids))
    table = pa.table(
        {
            "user": users,
            "item": pa.array(codes, pa.int32()),
            "action": pa.array(kept.actions, pa.int16()),
            "time_ms": kept.time_ms,
            "value": kept.values,
            "positive": kept.positive,
        }
    )
    pa.parquet.write_table(table, file, compression="zstd", row_group_size=len(kept))


class _Summary:
    """Collects what the manifest says of all shards."""

    def __init__(self, actions: Actions, every: int) -> None:
        self._actions, self._every = actions, every
        self._codes: dict[str, int] = {}
        self._first_ms = np.zeros(0, np.int64)
        self._times: list[Ints] = []
        n = len(tuple(actions))
        self._counts, self._sums, self._squares = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
        self._low, self._high = np.inf, -np.inf
        self.rows: list[int] = []
        self.fingerprints: list[str] = []

    def item_codes(self, kept: Events) -> Ints:
        """Codes of the events' items, which are the same in all shards."""
        codes = np.array([self._codes.setdefault(name, len(self._codes)) for name in kept.item_ids], np.int64)
        more = len(self._codes) - len(self._first_ms)
        self._first_ms = np.append(self._first_ms, np.full(more, NEVER))
        found: Ints = codes[kept.items]
        np.minimum.at(self._first_ms, found, kept.time_ms)
        return found

    def add(self, kept: Events) -> None:
        self.rows.append(len(kept))
        self._times.append(kept.time_ms[:: self._every])
        counts, sums, squares, (low, high) = value_sums(kept)
        self._counts, self._sums, self._squares = (
            self._counts + counts,
            self._sums + sums,
            self._squares + squares,
        )
        if counts.any():
            self._low, self._high = min(self._low, low), max(self._high, high)

    def write(self, items: Sequence[ItemText], folder: Path, key: str) -> None:
        # In the order of `models.data.events.index_events`.
        known = list(dict.fromkeys(item.item_id for item in items))
        item_ids = known + sorted(self._codes.keys() - set(known))
        index = {name: number for number, name in enumerate(item_ids)}
        item_index = np.array([index[name] for name in self._codes], np.int64)
        first_ms = np.full(len(item_ids), NEVER)
        first_ms[item_index] = self._first_ms
        times = np.sort(np.concatenate(self._times))
        np.savez(folder / ARRAYS, item_index=item_index, first_ms=first_ms, times=times)
        value_range = (self._low, self._high) if self._counts.any() else (0.0, 1.0)
        digest = hashlib.blake2b("\0".join(sorted(self.fingerprints)).encode(), digest_size=16)
        manifest = {
            "format": SHARD_FORMAT,
            "key": key,
            "item_ids": item_ids,
            "action_names": list(self._actions),
            "repeats": [self._actions[name].repeats for name in self._actions],
            "rows": self.rows,
            "scales": asdict(ValueScales.from_sums(self._counts, self._sums, self._squares, value_range)),
            "digest": digest.hexdigest(),
        }
        with atomic_write(folder / MANIFEST) as file:
            file.write(json.dumps(manifest).encode())


def _add(report: PreparationReport, part: PreparationReport) -> None:
    """Adds the counts of a part. A user is in one part only, so users add up. An item may be in many, so items are not
    counted."""
    report.rows += part.rows
    report.kept += part.kept
    steps = {step.name: step for step in report.steps}
    for step in part.steps:
        if step.name not in steps:
            steps[step.name] = Step(step.name, step.done, 0, 0, None)
            report.steps.append(steps[step.name])
        steps[step.name].rows += step.rows
        steps[step.name].users += step.users
