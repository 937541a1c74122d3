"""Figures by how long a history is, and by how old an item is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.measure import Measured
from evaluation.protocols.split import Split

HISTORIES: Final = ((0, "0"), (1, "1-9"), (10, "10-49"), (50, "50+"))
NEW_DAYS: Final = 30
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Group:
    """Of so many queries or targets, mean HR@10 and NDCG@10 (of single targets: each as if it were the list's only
    one)."""

    count: int
    hr: float
    ndcg: float

    def as_dict(self) -> dict[str, float]:
        """For `--json`."""
        return {"count": self.count, "hr@10": self.hr, "ndcg@10": self.ndcg}


def by_history(split: Split, row: Measured) -> dict[str, Group]:
    """Queries by the number of events before them; only groups that there are."""
    lengths = np.array([len(rows) for rows in split.queries.before])
    which = np.searchsorted([least for least, _ in HISTORIES], lengths, side="right") - 1
    hits, gains = row.figure("hr@10"), row.figure("ndcg@10")
    return _groups({name: which == place for place, (_, name) in enumerate(HISTORIES)}, hits, gains)


def by_item_age(split: Split, row: Measured) -> dict[str, Group]:
    """Targets by what training knows of their items: `cold`, no event at all; `new`, the first event less than thirty
    days before the list; `old`, all others. Without times none is new."""
    known, count = split.known, len(split.known.item_ids)
    never = np.iinfo(np.int64).max
    first = np.full(count, never)
    rows = np.flatnonzero(split.training)
    np.minimum.at(first, known.items[rows], known.time_ms[rows])
    items = np.concatenate(split.relevant)
    asked = np.repeat(split.queries.time_ms, [len(relevant) for relevant in split.relevant])
    cold = first[items] == never
    new = ~cold & known.timed
    new[new] = asked[new] - first[items[new]] < NEW_DAYS * _DAY_MS
    return _groups({"cold": cold, "new": new, "old": ~cold & ~new}, row.inside, row.discounts)


def _groups(
    masks: dict[str, NDArray[np.bool_]], hits: NDArray[np.float64], gains: NDArray[np.float64]
) -> dict[str, Group]:
    return {
        name: Group(int(mask.sum()), float(hits[mask].mean()), float(gains[mask].mean()))
        for name, mask in masks.items()
        if mask.any()
    }
