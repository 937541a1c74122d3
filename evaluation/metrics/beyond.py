"""What lists are like beyond their hits: how much of the catalogue they show, how unusual it is, and how varied.

Counts and likenesses are of training events alone, the same for every row of a table.

- coverage: share of the catalogue that stands on any list
- novelty: mean over listed items of -log2 of the item's share of the training's positive events, each item having
  one more than it has, so that an item without any has a share too
- diversity: 1 - the mean cosine of two items of a list, an item being the set of its training users. It needs no text
  and no model, so that all rows and all data sets are measured alike; two items that no user shares are as different
  as can be. Of long runs a sample of the lists is measured.
"""

import numpy as np
from numpy.typing import NDArray

from evaluation.protocols.split import Split
from models.data.events import Floats, Ints

_LISTS = 2000
# Of items times users: where there are more, a sample of the users is looked at.
_BITS = 2**31


def top_lists(scores: Floats, k: int) -> Ints:
    """The first k items of each list [b, k], in no order, -1 where fewer are listed. Where scores are equal a fixed
    random order decides."""
    items = scores.shape[1]
    shuffled = np.random.default_rng(0).permutation(items)
    k = min(k, items)
    mixed = np.nan_to_num(scores[:, shuffled], nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
    best = np.argpartition(-mixed, k - 1, axis=1)[:, :k]
    listed = np.isfinite(np.take_along_axis(mixed, best, 1))
    return np.where(listed, shuffled[best], -1)


class Beyond:
    """Measures of lists on one split."""

    def __init__(self, split: Split) -> None:
        known, count = split.known, len(split.known.item_ids)
        positives = np.bincount(known.items[split.training & known.positive], minlength=count) + 1
        self._surprise = -np.log2(positives / positives.sum())
        users, items = known.users[split.training], known.items[split.training]
        seen, users = np.unique(users, return_inverse=True)
        if len(seen) > (most := max(64, _BITS // count)):
            positions = np.random.default_rng(0).permutation(len(seen))[users]
            users, items = positions[positions < most], items[positions < most]
        # A bit for each user, so that common users are counted by whole words.
        self._users_of = np.zeros((count, int(users.max(initial=0)) // 8 + 1), np.uint8)
        np.bitwise_or.at(self._users_of, (items, users // 8), (1 << users % 8).astype(np.uint8))
        self._user_counts = np.bitwise_count(self._users_of).sum(1, dtype=np.int64)

    def coverage(self, lists: Ints) -> float:
        """Of all lists [b, k] of a row."""
        return float(len(np.unique(lists[lists >= 0])) / len(self._surprise))

    def novelty(self, lists: Ints) -> float:
        """In bits."""
        return float(self._surprise[lists[lists >= 0]].mean()) if (lists >= 0).any() else 0.0

    def diversity(self, lists: Ints) -> float:
        """From 0, all items have the same users, to 1; of lists with two items at least."""
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
