"""What is known of an item, and since when: the fold of all changes of the item.

The state is a last-writer-wins map (Shapiro et al., 2011, section 3.2.1) with two levels of writes. A put or a deletion
writes every field, a patch some of them. A field has the value of its newest write. `merge` is commutative, associative
and idempotent, so changes may arrive in any order, in any batches, and more than once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from catalog.items.item_check import attributes_problems
from catalog.items.items import Item

MAX_PATCHED: Final = 128
"""Most fields that are patched since the item was put. Together with the largest item they fit into a record."""

ATTRIBUTES: Final = "attributes"
_KEY: Final = ATTRIBUTES + "."
_NAMES: Final = {
    "title": "title",
    "description": "description",
    "categories": "categories",
    "domain": "domain",
    "withdrawn": "withdrawn",
    "expires_at": "expires_at_ms",
    "published_at": "published_at_ms",
    "media": "media",
}
"""The fields of `Item` by path. Attributes have paths of their own."""

_NO_PATCHES: Final[Mapping[str, "Stamp"]] = MappingProxyType({})


class Stamp(NamedTuple):
    """The place of a change among all changes of its item.

    Attributes:
        time_ns: The source's time, Unix nanoseconds.
        tie: Orders changes of the same time: 64 bits of a hash of the change.
    """

    time_ns: int
    tie: int


NEVER: Final = Stamp(-1, 0)
"""Before every change."""


@dataclass(frozen=True, slots=True)
class ItemState:
    """The state of an item after some changes.

    Attributes:
        item: The values. Fields that nothing has set have their defaults. `updated_at_ns` is the newest stamp's.
        whole: The newest put or deletion. NEVER: there was none.
        listed: Whether that was a put. Otherwise the item is not in the catalogue, and `item` has what waits for a put.
        patched: The patches after that, by path.
    """

    item: Item
    whole: Stamp = NEVER
    listed: bool = False
    patched: Mapping[str, Stamp] = field(default_factory=lambda: _NO_PATCHES)

    @classmethod
    def put(cls, item: Item, stamp: Stamp) -> "ItemState":
        """The state after a put alone."""
        return cls(replace(item, updated_at_ns=stamp.time_ns), stamp, listed=True)

    @classmethod
    def patch(cls, item: Item, paths: frozenset[str], stamp: Stamp) -> "ItemState":
        """The state after a patch alone. `item` has no fields but those of the paths."""
        if ATTRIBUTES in paths:
            paths = frozenset(path for path in paths if not path.startswith(_KEY))
        patched = dict.fromkeys(sorted(paths), stamp)
        return cls(replace(item, updated_at_ns=stamp.time_ns), patched=patched)

    @classmethod
    def deletion(cls, item_id: str, stamp: Stamp) -> "ItemState":
        """The state after a deletion alone."""
        return cls(Item(item_id, updated_at_ns=stamp.time_ns), stamp)

    @property
    def newest(self) -> Stamp:
        """The newest change."""
        return max((self.whole, *self.patched.values()))

    def without_contents(self) -> "ItemState":
        """The state with hashes in place of its media's contents."""
        item = self.item.without_contents()
        return self if item is self.item else replace(self, item=item)


def merge(one: ItemState, other: ItemState) -> ItemState:
    """The state after the changes of both. It is `one` itself if `other` has nothing newer.

    Where both together would be too large to be stored, it is the one with the newer put or deletion. This is the only
    case in which the order of merges matters.
    """
    merged = combine(one, other)
    if merged is one or merged is other or not problems(merged):
        return merged
    return other if other.whole > one.whole else one


def combine(one: ItemState, other: ItemState) -> ItemState:
    """As `merge`, however large it is."""
    first, second = (other, one) if other.whole > one.whole else (one, other)
    if not second.patched:
        return first
    patched = dict(first.patched)
    values: dict[str, Any] = {}
    for path, stamp in second.patched.items():
        name = _NAMES.get(path)
        if name is not None and stamp > patched.get(path, first.whole):
            patched[path] = stamp
            values[name] = getattr(second.item, name)
    attributes = _merge_attributes(first, second, patched)
    if attributes is not None:
        values["texts"] = {key: texts for key, (texts, _) in attributes.items() if texts}
        values["numbers"] = {key: numbers for key, (_, numbers) in attributes.items() if numbers}
    if not values:
        return first
    patched = dict(sorted(patched.items()))
    values["updated_at_ns"] = max((first.whole, *patched.values())).time_ns
    return ItemState(replace(first.item, **values), first.whole, first.listed, patched)


def problems(state: ItemState) -> list[tuple[str, str]]:
    """What makes a state too large to be stored, as (field, problem). Each of its changes may be valid alone."""
    found = [*attributes_problems(state.item.to_proto().attributes)]
    if len(state.patched) > MAX_PATCHED:
        found.append(
            (
                "fields",
                f"makes {len(state.patched)} fields that were patched since the item was put; the limit is "
                f"{MAX_PATCHED}: put the item again",
            )
        )
    return found


_Values = tuple[tuple[str, ...], tuple[float, ...]]


def _merge_attributes(
    first: ItemState, second: ItemState, patched: dict[str, Stamp]
) -> dict[str, _Values] | None:
    """The attributes after the changes of both, and in `patched` their stamps. None: those of `first`."""
    changed = False
    values = _attributes(first.item)
    of_second = _attributes(second.item)
    base = patched.get(ATTRIBUTES, first.whole)
    whole = second.patched.get(ATTRIBUTES, NEVER)
    if whole > base:
        changed = True
        base = patched[ATTRIBUTES] = whole
        newer = {path for path, stamp in patched.items() if path.startswith(_KEY) and stamp > base}
        for path in [path for path in patched if path.startswith(_KEY) and path not in newer]:
            del patched[path]
        kept = {key: found for key, found in values.items() if _KEY + key in newer}
        values = {key: found for key, found in of_second.items() if _KEY + key not in newer} | kept
    for path, stamp in second.patched.items():
        if not path.startswith(_KEY) or stamp <= patched.get(path, base):
            continue
        changed = True
        patched[path] = stamp
        key = path.removeprefix(_KEY)
        values.pop(key, None)
        if key in of_second:
            values[key] = of_second[key]
    return values if changed else None


def _attributes(item: Item) -> dict[str, _Values]:
    return {key: (texts, ()) for key, texts in item.texts.items()} | {
        key: ((), numbers) for key, numbers in item.numbers.items()
    }
