"""Figures by the length of the history, and by the age of the item."""

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
    """A group of queries or targets. A target counts as if it were the only one of its list.

    Attributes:
        count: Number of queries or targets.
        hr: Mean HR@10.
        ndcg: Mean NDCG@10.
    """

    count: int
    hr: float
    ndcg: float

    def as_dict(self) -> dict[str, float]:
        """JSON values for `--json`."""
        return {"count": self.count, "hr@10": self.hr, "ndcg@10": self.ndcg}


def by_history(split: Split, row: Measured) -> dict[str, Group]:
    """Groups queries by the number of events in their history. Empty groups are absent."""
    lengths = np.array([len(rows) for rows in split.queries.before])
    which = np.searchsorted([least for least, _ in HISTORIES], lengths, side="right") - 1
    hits, gains = row.figure("hr@10"), row.figure("ndcg@10")
    return _groups({name: which == place for place, (_, name) in enumerate(HISTORIES)}, hits, gains)


def by_item_age(split: Split, row: Measured) -> dict[str, Group]:
    """Groups targets by the training events of their items.

    Items in `cold` have none. Items in `new` had their first one less than thirty days before the list. All others are
    in `old`. Without times, no item is new. Empty groups are absent.
    """
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
