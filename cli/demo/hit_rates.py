"""Hit rates: how often the next film was on the list that was requested just before it, compared with popularity."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from readers.interactions.interactions import Interactions


@dataclass(slots=True)
class Tally:
    """Queries, and the hits of the lists and of popularity among them."""

    queries: int = 0
    hits: int = 0
    popularity_hits: int = 0

    def as_dict(self) -> dict[str, float]:
        queries = max(self.queries, 1)
        return {
            "hit_rate_at_10": round(self.hits / queries, 4),
            "popularity_hit_rate_at_10": round(self.popularity_hits / queries, 4),
        }


@dataclass(slots=True)
class HitRates:
    """Hit rates of lists of ten items, compared with popularity.

    Popularity counts every event of training and of the replay so far. Like the lists, it leaves out items that the
    user has consumed. Ties go to the smaller id.

    Attributes:
        everyone: The rates over all users.
        warm: The rates over users who are in the training data.
    """

    everyone: Tally = field(default_factory=Tally)
    warm: Tally = field(default_factory=Tally)
    _warm_users: frozenset[str] = frozenset()
    _consumed: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _codes: dict[str, int] = field(default_factory=dict)
    _counts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def after(cls, training: Interactions, item_ids: Sequence[str]) -> "HitRates":
        """Starts with the events of training. `item_ids` is the whole catalogue."""
        codes = {item_id: code for code, item_id in enumerate(sorted(item_ids))}
        rates = cls(
            _warm_users=frozenset(training.user_ids),
            _codes=codes,
            _counts=np.zeros(len(codes), dtype=np.int64),
        )
        for user_id, item_id in zip(training.user_ids, training.item_ids, strict=True):
            rates.observe(user_id, item_id)
        return rates

    def observe(self, user_id: str, item_id: str) -> None:
        """Counts an event that has happened."""
        code = self._codes[item_id]
        self._counts[code] += 1
        self._consumed[user_id].add(code)

    def judge(self, user_id: str, item_id: str, recommended: Sequence[str]) -> None:
        """Judges the list that was requested just before the event. Call it before `observe`."""
        popular = self._codes[item_id] in self._popular(user_id)
        for tally in (self.everyone, self.warm) if user_id in self._warm_users else (self.everyone,):
            tally.queries += 1
            tally.hits += item_id in recommended
            tally.popularity_hits += popular

    def _popular(self, user_id: str, count: int = 10) -> set[int]:
        counts = self._counts.copy()
        counts[list(self._consumed[user_id])] = -1
        return set(np.argsort(-counts, kind="stable")[:count].tolist())
