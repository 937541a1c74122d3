"""Placement: which candidates are listed, and where, by pins, caps and quotas.

The rules hold in this order: pins, caps, the quotas one after the other, the order. One that cannot hold gives way only
as far as it must, and the list stays full. Where all candidates that are left would exceed a cap, the one that exceeds
the fewest caps is taken.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking.query import Mask

Indices = NDArray[np.int64]

BY_ORDER: Final = -1
BY_PIN: Final = -2
_TAKEN: Final = 1 << 32
"""More than the number of caps that there are."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Puts a candidate at a position of the list. No two pins have the same candidate or position."""

    candidate: int
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Cap:
    """Allows at most `most` listed candidates of one code.

    Codes are int64 [m]. Negative: the candidate has no value.
    """

    codes: Indices
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class Quota:
    """Reserves `positions` positions of the list for the candidates in the mask, bool [m]."""

    mask: Mask
    positions: int


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """The listed candidates.

    Attributes:
        chosen: Indices of candidates in the order of the list, int64 [k].
        placed_by: The index of the quota that brought each of them, `BY_PIN`, or `BY_ORDER`, int64 [k].
        exceeded: How many caps did not hold.
        missed: Indices of the quotas that got fewer positions than they reserve.
    """

    chosen: Indices
    placed_by: Indices
    exceeded: int
    missed: tuple[int, ...]


def place(
    order: Indices,
    length: int,
    *,
    pins: Sequence[Pin] = (),
    caps: Sequence[Cap] = (),
    quotas: Sequence[Quota] = (),
) -> Placement:
    """Places candidates.

    Candidates that the order lists anyway count for a quota. If they are too few, the best others take positions that
    are spread evenly over the list, and the last of the order give way.

    Args:
        order: Candidates, best first, int64 [n].
        length: Length of the list. It is n if that is less.
        pins: Pins of these candidates. If the list is shorter than a pin's position, the candidate stands at its end.
        caps: The caps.
        quotas: The quotas, those of higher priority first.
    """
    length = min(length, len(order))
    # From here on a candidate is its rank in the order.
    pinned = {
        position: int(np.flatnonzero(order == pin.candidate)[0]) for pin, position in _positions(pins, length)
    }
    caps = [Cap(cap.codes[order], cap.most) for cap in caps]
    quotas = [Quota(quota.mask[order], quota.positions) for quota in quotas]

    draft = _Draft(len(order), length, pinned.values(), caps)
    draft.fill()
    moved: list[tuple[float, int, int]] = []
    if any(draft.missing(quota) > 0 for quota in quotas):
        plain, draft = draft, _Draft(len(order), length, pinned.values(), caps)
        for index, brought in enumerate(draft.fill_with(quotas)):
            new = [at for at in brought if not plain.taken[at]]
            # The quotas take turns, and each is spread as evenly as it would be alone.
            moved += [((turn + 1) / len(new), index, at) for turn, at in enumerate(new)]
        moved.sort()

    listed = np.full(length, -1, np.int64)
    placed_by = np.full(length, BY_ORDER, np.int64)
    listed[list(pinned)], placed_by[list(pinned)] = list(pinned.values()), BY_PIN
    free = np.flatnonzero(listed < 0)
    spread = free[np.arange(1, len(moved) + 1) * len(free) // max(1, len(moved)) - 1]
    listed[spread], placed_by[spread] = [at for _, _, at in moved], [index for _, index, _ in moved]
    rest = draft.taken.copy()
    rest[listed[listed >= 0]] = False
    # What exceeds a cap comes last.
    by_order = np.flatnonzero(rest)
    listed[listed < 0] = by_order[np.argsort(draft.exceeding[by_order], kind="stable")]
    return Placement(
        order[listed],
        placed_by,
        draft.exceeded(),
        tuple(index for index, quota in enumerate(quotas) if draft.missing(quota) > 0),
    )


def _positions(pins: Sequence[Pin], length: int) -> list[tuple[Pin, int]]:
    """The pins with their positions: their own, or one at the end of a list that is too short."""
    found = []
    end = length
    for pin in sorted(pins, key=lambda pin: -pin.position):
        end = min(pin.position, end - 1)
        if end >= 0:
            found.append((pin, end))
    return found


class _Draft:
    """A list that is being filled. It has no order yet.

    Args:
        size: Number of candidates.
        length: Length of the list.
        pinned: The pinned candidates.
        caps: The caps.

    Attributes:
        taken: Whether the candidate is listed, bool [m].
        exceeding: Whether it exceeded a cap when it was taken, bool [m].
    """

    def __init__(self, size: int, length: int, pinned: Iterable[int], caps: Sequence[Cap]) -> None:
        self.taken = np.zeros(size, np.bool_)
        self.exceeding = np.zeros(size, np.bool_)
        self._free = length
        self._caps = [(cap, Counter[int]()) for cap in caps]
        # How many caps the candidate would exceed.
        self._excess = np.zeros(size, np.int64)
        for at in pinned:
            self._take(at)

    def missing(self, quota: Quota) -> int:
        """How many positions the quota has too few."""
        return quota.positions - int(np.count_nonzero(self.taken & quota.mask))

    def exceeded(self) -> int:
        """How many caps do not hold."""
        return sum(max(counts.values(), default=0) > cap.most for cap, counts in self._caps)

    def fill(self) -> None:
        """Takes the best candidates for all free positions."""
        self._take_best(None, self._free, within_caps=False)

    def fill_with(self, quotas: Sequence[Quota]) -> list[list[int]]:
        """Takes candidates for the quotas, and then the best for all other positions. Returns those of each quota."""
        brought: list[list[int]] = [[] for _ in quotas]
        for within_caps in (True, False) if self._caps else (False,):
            for quota, mine in zip(quotas, brought, strict=True):
                mine += self._take_best(quota.mask, self.missing(quota), within_caps)
            self._take_best(None, self._free, within_caps)
        return brought

    def _take_best(self, mask: Mask | None, count: int, within_caps: bool) -> list[int]:
        """Takes up to `count` candidates: those that exceed the fewest caps, best first. `within_caps`: only those that
        exceed none."""
        count = max(0, min(count, self._free))
        if not self._caps:
            among = ~self.taken if mask is None else mask & ~self.taken
            found = np.flatnonzero(among)[:count]
            self.taken[found] = True
            self._free -= len(found)
            return found.tolist()
        taken: list[int] = []
        while len(taken) < count:
            excess = self._excess if mask is None else np.where(mask, self._excess, _TAKEN)
            at = int(excess.argmin())
            if excess[at] >= _TAKEN or (within_caps and excess[at] > 0):
                break
            self._take(at)
            taken.append(at)
        return taken

    def _take(self, at: int) -> None:
        self.taken[at], self.exceeding[at] = True, self._excess[at] > 0
        self._excess[at] += _TAKEN
        self._free -= 1
        for cap, counts in self._caps:
            code = int(cap.codes[at])
            if code < 0:
                continue
            counts[code] += 1
            if counts[code] == cap.most:
                self._excess[cap.codes == code] += 1
