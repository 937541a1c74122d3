"""Cached masks of the items that match a filter."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.change_log import ChangeLog
from catalog.filters.filters import Criteria
from catalog.filters.postings import Mask, Numbers, Postings, Term
from catalog.items.items import Item
from recstream.v1 import filter_pb2

# Testing one item costs about a microsecond. Above this many changes, a new mask is cheaper than a patched one.
_PATCHED = 1000


@dataclass(slots=True)
class _Cached:
    criteria: Criteria
    generation: int
    mask: Mask


class Matching:
    """Masks by filter. A cached mask is updated from the rows that changed since, so that requests stay cheap while
    the catalogue changes.

    Args:
        items: The catalogue's items by row. The catalogue changes this list.
        change_log: The catalogue's changes.
        cached: How many masks are kept at most.
    """

    def __init__(self, items: Sequence[Item], change_log: ChangeLog, cached: int) -> None:
        self._items = items
        self._change_log = change_log
        self._limit = cached
        self._cache: OrderedDict[tuple[str, bytes], _Cached] = OrderedDict()
        self._postings = Postings()
        self._numbers = Numbers()

    def replace(self, row: int, old: Item, new: Item) -> None:
        """Updates the postings for a row's new item. Call it before the change is added to the change log."""
        rows = len(self._items)
        had, has = _terms(old), _terms(new)
        for term in had - has:
            self._postings.discard(term, row)
        for term in has - had:
            self._postings.add(term, row, rows)
        for name in old.numbers.keys() - new.numbers.keys():
            self._numbers.discard(name, row)
        for name, value in new.numbers.items():
            self._numbers.put(name, row, value, rows)

    def mask(self, wanted: filter_pb2.Filter | None, domain: str) -> Mask:
        """The mask [rows] of the rows that match. It is read-only and never changes."""
        key = (domain, wanted.SerializeToString(deterministic=True) if wanted is not None else b"")
        cached = self._cache.get(key)
        if cached is None:
            criteria = Criteria.of(wanted, domain)
            cached = _Cached(criteria, self._change_log.generation, _frozen(self._build(criteria)))
            self._cache[key] = cached
            if len(self._cache) > self._limit:
                self._cache.popitem(last=False)
            return cached.mask
        self._cache.move_to_end(key)
        if cached.generation != self._change_log.generation:
            cached.mask = _frozen(self._refreshed(cached))
            cached.generation = self._change_log.generation
        return cached.mask

    def _refreshed(self, cached: _Cached) -> Mask:
        changed = self._change_log.since(cached.generation)
        if changed is None or len(changed) > _PATCHED:
            return self._build(cached.criteria)
        mask = np.zeros(len(self._items), dtype=np.bool_)
        mask[: len(cached.mask)] = cached.mask
        for row in changed:
            mask[row] = cached.criteria.matches(self._items[row])
        return mask

    def _build(self, criteria: Criteria) -> Mask:
        rows = len(self._items)
        mask = np.ones(rows, dtype=np.bool_)
        if criteria.domain:
            mask &= self._postings.any_of([("domain", criteria.domain)], rows)
        if criteria.categories:
            mask &= self._postings.any_of((("category", name) for name in criteria.categories), rows)
        if criteria.excluded:
            mask &= ~self._postings.any_of((("category", name) for name in criteria.excluded), rows)
        for name, values in criteria.attributes:
            mask &= self._postings.any_of((("attribute", name, value) for value in values), rows)
        for part in criteria.ranges:
            mask &= self._numbers.between(part.name, part.low, part.high, rows)
        return mask


def _terms(item: Item) -> set[Term]:
    terms: set[Term] = {("category", name) for name in item.categories}
    terms |= {("attribute", name, value) for name, value in item.attributes.items()}
    if item.domain:
        terms.add(("domain", item.domain))
    return terms


def _frozen(mask: Mask) -> Mask:
    mask.flags.writeable = False
    return mask
