"""Cached masks of the items that match a filter."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.change_log import ChangeLog
from catalog.filters.conditions import Condition, ItemIndex, condition_of, fields_of
from catalog.filters.postings import Mask, Numbers, Postings, Rows, Term
from catalog.items.items import Item
from recstream.v1 import filter_pb2

# Testing one item costs about a microsecond. Above this many changes, a new mask is cheaper than a patched one.
_PATCHED = 1000


@dataclass(slots=True)
class _Cached:
    condition: Condition
    generation: int
    mask: Mask


class Matching:
    """Masks by filter. A cached mask is updated from the rows that changed since, so that requests stay cheap while
    the catalogue changes.

    Args:
        items: The catalogue's items by row. The catalogue changes this list.
        rows: The catalogue's rows by item id. The catalogue changes this mapping.
        change_log: The catalogue's changes.
        cached: How many masks are kept at most.
    """

    def __init__(
        self, items: Sequence[Item], rows: Mapping[str, int], change_log: ChangeLog, cached: int
    ) -> None:
        self._items = items
        self._rows = rows
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
        for name in old.numbers.keys() | new.numbers.keys():
            self._numbers.put(name, row, new.numbers.get(name, ()), rows)

    def mask(self, wanted: filter_pb2.Filter | None, domain: str) -> Mask:
        """The mask [rows] of the rows that match. It is read-only and never changes."""
        key = (domain, wanted.SerializeToString(deterministic=True) if wanted is not None else b"")
        cached = self._cache.get(key)
        if cached is None:
            condition = condition_of(wanted, domain)
            cached = _Cached(condition, self._change_log.generation, _frozen(self._build(condition)))
            self._cache[key] = cached
            if len(self._cache) > self._limit:
                self._cache.popitem(last=False)
            return cached.mask
        self._cache.move_to_end(key)
        if cached.generation != self._change_log.generation:
            cached.mask = _frozen(self._refreshed(cached))
            cached.generation = self._change_log.generation
        return cached.mask

    def rows(self, field: str, text: str) -> Rows:
        """The rows that have the text in the field. For texts that many requests do not share, such as a user's id."""
        return self._postings.rows((field, text))

    def _refreshed(self, cached: _Cached) -> Mask:
        changed = self._change_log.since(cached.generation)
        if changed is None or len(changed) > _PATCHED:
            return self._build(cached.condition)
        mask = np.zeros(len(self._items), dtype=np.bool_)
        mask[: len(cached.mask)] = cached.mask
        for row in changed:
            mask[row] = cached.condition.matches(self._items[row])
        return mask

    def _build(self, condition: Condition) -> Mask:
        return condition.mask(ItemIndex(self._postings, self._numbers, self._rows, len(self._items)))


def _terms(item: Item) -> set[Term]:
    terms: set[Term] = set()
    for field, texts in fields_of(item):
        terms.add((field,))
        terms.update((field, text) for text in texts)
    return terms


def _frozen(mask: Mask) -> Mask:
    mask.flags.writeable = False
    return mask
