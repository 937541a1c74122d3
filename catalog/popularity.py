"""How often items are acted on, decayed at the time of the read."""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catalog.buckets import Buckets
from catalog.columns import Column
from recstream.storage.v1 import catalog_pb2

_HALF_LIVES = 16
# After so many half-lives sums are made anew for the present, before numbers leave float64.
_CARRIED = 200.0


@dataclass(slots=True)
class _Decay:
    """Weights add up and age alike: the sum at one moment times one factor is the sum at another."""

    reference_ms: int
    sums: Column[np.float64]
    changed: set[int] = field(default_factory=set)
    read_at_ms: int = 0
    read: NDArray[np.float32] | None = None


class Popularity:
    """Statistics by row. `reuse_ms`: how long figures that were read may be given again."""

    def __init__(self, reuse_ms: float) -> None:
        self._reuse_ms = reuse_ms
        self._positives = Column(np.int64, 0)
        self._buckets = Buckets()
        self._decays: OrderedDict[float, _Decay] = OrderedDict()

    def put(self, row: int, stats: catalog_pb2.ItemStats) -> None:
        """The row's statistics changed."""
        self._positives.reserve(row + 1)
        self._positives.array[row] = stats.positives
        self._buckets.put(row, stats)
        for decay in self._decays.values():
            decay.changed.add(row)

    def positives(self, rows: int) -> NDArray[np.int64]:
        """Positive events ever, [rows]."""
        return self._positives.view(rows)

    def decayed(self, now_ms: int, half_life_s: float, rows: int) -> NDArray[np.float32]:
        """Positive events weighed by age, [rows], as `catalog.stats.decayed` defines it; read-only."""
        decay = self._decays.get(half_life_s)
        if decay is None:
            decay = self._decays[half_life_s] = _Decay(now_ms, self._sums(now_ms, half_life_s))
            if len(self._decays) > _HALF_LIVES:
                self._decays.popitem(last=False)
        self._decays.move_to_end(half_life_s)
        read = decay.read
        if read is None or len(read) < rows or not 0 <= now_ms - decay.read_at_ms < self._reuse_ms:
            read = decay.read = self._read(decay, now_ms, half_life_s, rows)
            decay.read_at_ms = now_ms
        return read[:rows]

    def _read(self, decay: _Decay, now_ms: int, half_life_s: float, rows: int) -> NDArray[np.float32]:
        halvings = (now_ms - decay.reference_ms) / (half_life_s * 1000)
        if abs(halvings) > _CARRIED:
            decay.reference_ms, decay.sums = now_ms, self._sums(now_ms, half_life_s)
            halvings = 0.0
        elif decay.changed:
            changed = np.fromiter(decay.changed, np.int64, len(decay.changed))
            decay.sums.reserve(self._buckets.rows)
            decay.sums.array[changed] = self._buckets.sums(changed, decay.reference_ms, half_life_s)
        decay.changed.clear()
        decay.sums.reserve(rows)
        read: NDArray[np.float32] = (decay.sums.array[:rows] * 2.0**-halvings).astype(np.float32)
        read.flags.writeable = False
        return read

    def _sums(self, now_ms: int, half_life_s: float) -> Column[np.float64]:
        rows = self._buckets.rows
        column = Column(np.float64, 0.0)
        column.reserve(rows)
        column.array[:rows] = self._buckets.all_sums(now_ms, half_life_s)
        return column
