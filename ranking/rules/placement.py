"""Placement: which candidates are listed, and where, by pins, caps and quotas.

The rules hold in this order: pins, caps, the quotas one after the other, the order. One that cannot hold gives way only
as far as it must, and the list stays full. Where all candidates that are left would exceed a cap, the one that exceeds
the fewest caps is selected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking.query import Mask

Indices = NDArray[np.int64]

BY_ORDER: Final = -1
BY_PIN: Final = -2
_INFINITE: Final = 1 << 32
"""More than there are candidates or caps."""


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
    values = _Values(caps, order)
    quotas = [Quota(quota.mask[order], quota.positions) for quota in quotas]

    draft = _Draft(length, pinned.values(), values)
    draft.fill_with(())
    moved: list[tuple[float, int, int]] = []
    if any(draft.missing(quota) > 0 for quota in quotas):
        plain, draft = draft, _Draft(length, pinned.values(), values)
        for index, brought in enumerate(draft.fill_with(quotas)):
            new = [at for at in brought if not plain.selected[at]]
            # The quotas take turns, and each is spread as evenly as it would be alone.
            moved += [((turn + 1) / len(new), index, at) for turn, at in enumerate(new)]
        moved.sort()

    listed = np.full(length, -1, np.int64)
    placed_by = np.full(length, BY_ORDER, np.int64)
    listed[list(pinned)], placed_by[list(pinned)] = list(pinned.values()), BY_PIN
    free = np.flatnonzero(listed < 0)
    spread = free[np.arange(1, len(moved) + 1) * len(free) // max(1, len(moved)) - 1]
    listed[spread], placed_by[spread] = [at for _, _, at in moved], [index for _, index, _ in moved]
    rest = draft.selected.copy()
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


class _Values:
    """What caps count: the values of candidates, each a number of its own.

    Args:
        caps: The caps.
        order: The candidates in their order, int64 [n].

    Attributes:
        of: The values of each candidate, one for each cap, int64 [n, caps]. -1: it has none.
        by_candidate: The same as lists.
        most: How many candidates of each value may be listed.
        cap: The index of each value's cap.
    """

    def __init__(self, caps: Sequence[Cap], order: Indices) -> None:
        self.of = np.full((len(order), len(caps)), -1, np.int64)
        self.most: list[int] = []
        self.cap: list[int] = []
        for index, cap in enumerate(caps):
            codes = cap.codes[order]
            known = codes >= 0
            values, numbers = np.unique(codes[known], return_inverse=True)
            self.of[known, index] = numbers + len(self.most)
            self.most += [cap.most] * len(values)
            self.cap += [index] * len(values)
        self.by_candidate: list[list[int]] = self.of.tolist()


class _Draft:
    """A list that is being filled. It has no order yet.

    Args:
        length: Length of the list.
        pinned: The pinned candidates.
        values: The values that caps count.

    Attributes:
        selected: Whether the candidate is listed, bool [n].
        exceeding: Whether it exceeded a cap when it was selected, bool [n].
    """

    def __init__(self, length: int, pinned: Iterable[int], values: _Values) -> None:
        self.selected = np.zeros(len(values.of), np.bool_)
        self.exceeding = np.zeros(len(values.of), np.bool_)
        self._free = length
        self._values = values
        # How many more candidates of each value may be listed. The last one is for -1, of which there is always room.
        self._room = [*values.most, _INFINITE]
        for at in pinned:
            self._select(at)

    def missing(self, quota: Quota) -> int:
        """How many positions the quota has too few."""
        return quota.positions - int(np.count_nonzero(self.selected & quota.mask))

    def exceeded(self) -> int:
        """How many caps do not hold."""
        return len({cap for cap, room in zip(self._values.cap, self._room[:-1], strict=True) if room < 0})

    def fill_with(self, quotas: Sequence[Quota]) -> list[list[int]]:
        """Selects candidates for the quotas, and then the best for all other positions.

        Those that exceed no cap come first, for the quotas and for the rest.

        Returns:
            The candidates of each quota.
        """
        brought: list[list[int]] = [[] for _ in quotas]
        everything = np.ones(len(self.selected), np.bool_)
        for select in (self._select_within_caps, self._select_beyond_caps):
            for quota, mine in zip(quotas, brought, strict=True):
                mine += select(quota.mask, min(self.missing(quota), self._free))
            select(everything, self._free)
        return brought

    def _select_within_caps(self, mask: Mask, count: int) -> list[int]:
        """Selects up to `count` candidates of the mask that exceed no cap, best first."""
        candidates = np.flatnonzero(mask & ~self.selected) if count > 0 else np.empty(0, np.int64)
        if not self._values.most:
            selected: list[int] = candidates[:count].tolist()
            self.selected[selected] = True
            self._free -= len(selected)
            return selected
        selected, room, values = [], self._room, self._values.by_candidate
        for at in candidates.tolist():
            if len(selected) == count:
                break
            if all(room[value] > 0 for value in values[at]):
                self._select(at)
                selected.append(at)
        return selected

    def _select_beyond_caps(self, mask: Mask, count: int) -> list[int]:
        """Selects up to `count` candidates of the mask, those that exceed the fewest caps first."""
        among = mask & ~self.selected
        count = min(count, int(np.count_nonzero(among)))
        if count <= 0:
            return []
        of = self._values.of
        full = np.array(self._room) <= 0
        excess = np.where(among, full[of].sum(axis=1), _INFINITE)
        selected: list[int] = []
        while len(selected) < count:
            at = int(excess.argmin())
            self.exceeding[at] = excess[at] > 0
            excess[at] = _INFINITE
            self._select(at)
            selected.append(at)
            for value in self._values.by_candidate[at]:
                if self._room[value] == 0:
                    excess += (of == value).any(axis=1)
        return selected

    def _select(self, at: int) -> None:
        self.selected[at] = True
        self._free -= 1
        for value in self._values.by_candidate[at]:
            self._room[value] -= 1
