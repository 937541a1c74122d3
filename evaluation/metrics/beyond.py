"""Beyond-accuracy metrics of lists: coverage, novelty and diversity.

They use training events only, so they are the same for all methods of a table.

- coverage: the share of the catalogue that is on any list
- novelty: the mean over listed items of -log2 of the item's share of the positive training events. Each item gets one
  extra event, so that an item without any has a share too
- diversity: 1 - the mean cosine of two items of a list, where an item is the set of its training users. It needs no
  text and no model, so all methods and data sets are measured alike. Two items without a common user have the largest
  distance. If there are many lists, a sample is measured
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.protocols.split import Split
from models.data.events import Floats, Ints

_LISTS = 2000
# Limit of items times users. Above it, diversity uses a sample of the users.
_BITS = 2**31


def top_lists(scores: Floats, k: int) -> Ints:
    """The first k items of each list, in no order: int64 [b, k], with -1 if fewer are listed.

    A fixed random order breaks ties.
    """
    items = scores.shape[1]
    shuffled = np.random.default_rng(0).permutation(items)
    k = min(k, items)
    mixed = np.nan_to_num(scores[:, shuffled], nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
    best = np.argpartition(-mixed, k - 1, axis=1)[:, :k]
    listed = np.isfinite(np.take_along_axis(mixed, best, 1))
    return np.where(listed, shuffled[best], -1)


class Beyond:
    """The beyond-accuracy metrics of lists on one split."""

    def __init__(self, split: Split) -> None:
        known, count = split.known, len(split.known.item_ids)
        positives = np.bincount(known.items[split.training & known.positive], minlength=count) + 1
        self._surprise = -np.log2(positives / positives.sum())
        users, items = known.users[split.training], known.items[split.training]
        seen, users = np.unique(users, return_inverse=True)
        if len(seen) > (most := max(64, _BITS // count)):
            positions = np.random.default_rng(0).permutation(len(seen))[users]
            users, items = positions[positions < most], items[positions < most]
        # One bit for each user, so that common users are counted by whole words.
        self._users_of = np.zeros((count, int(users.max(initial=0)) // 8 + 1), np.uint8)
        np.bitwise_or.at(self._users_of, (items, users // 8), (1 << users % 8).astype(np.uint8))
        self._user_counts = np.bitwise_count(self._users_of).sum(1, dtype=np.int64)

    def coverage(self, lists: Ints) -> float:
        """Coverage of all lists [b, k] of a method, from 0 to 1."""
        return float(len(np.unique(lists[lists >= 0])) / len(self._surprise))

    def novelty(self, lists: Ints) -> float:
        """Novelty of the lists [b, k], in bits."""
        return float(self._surprise[lists[lists >= 0]].mean()) if (lists >= 0).any() else 0.0

    def diversity(self, lists: Ints) -> float:
        """Diversity of the lists [b, k] with at least two items, from 0 (all items have the same users) to 1."""
        lists = lists[(lists >= 0).sum(1) >= 2]
        if len(lists) > _LISTS:
            lists = lists[np.random.default_rng(0).choice(len(lists), _LISTS, replace=False)]
        return float(np.mean([self._different(row[row >= 0]) for row in lists])) if len(lists) else 0.0

    def _different(self, items: Ints) -> float:
        one, other = np.triu_indices(len(items), 1)
        sets, sizes = self._users_of[items], self._user_counts[items]
        common = np.bitwise_count(sets[one] & sets[other]).sum(1, dtype=np.int64)
        cosine: NDArray[np.float64] = common / np.sqrt(np.maximum(sizes[one] * sizes[other], 1))
        return float(1 - cosine.mean())
