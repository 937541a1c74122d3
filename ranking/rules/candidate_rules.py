"""The rules of a list in terms of its candidates."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Final

import numpy as np

from catalog.in_memory import InMemoryCatalog
from catalog.items.items import Item
from inference.model import Floats
from ranking.candidates import Candidates
from ranking.query import HydratedQuery, Rows
from ranking.rules.active import NO_RULES
from ranking.rules.boosts import Boost, Scores
from ranking.rules.check import ATTRIBUTE, CATEGORY
from ranking.rules.placement import Cap, Indices, Pin, Quota
from ranking.rules.rotation import rotated
from recstream.v1 import rules_pb2


@dataclass(frozen=True, slots=True, eq=False)
class CandidateRules:
    """The rules of a list of m candidates.

    Attributes:
        boosts: The boosts.
        rotation: Standard deviations of the scores that each candidate loses, float64 [m]. None: none loses any.
        pins: Pins of candidates.
        pins_missed: How many pinned items are no candidates.
        caps: The caps.
        promotions: The promotions, those of higher priority first.
        promotion_names: Their names.
        diversity: 0 to 1.
        vectors: The candidates' vectors, float32 [m, d], for diversity.
    """

    boosts: tuple[Boost, ...] = ()
    rotation: Scores | None = None
    pins: tuple[Pin, ...] = ()
    pins_missed: int = 0
    caps: tuple[Cap, ...] = ()
    promotions: tuple[Quota, ...] = ()
    promotion_names: tuple[str, ...] = ()
    diversity: float = 0.0
    vectors: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))


NO_CANDIDATE_RULES: Final = CandidateRules()


def candidate_rules(catalog: InMemoryCatalog, query: HydratedQuery, candidates: Candidates) -> CandidateRules:
    """The rules of the query in terms of its candidates.

    Args:
        catalog: The catalogue, for filters and values.
        query: The query.
        candidates: Its candidates.
    """
    rules, rows = query.rules, candidates.rows
    if rules is NO_RULES:
        return NO_CANDIDATE_RULES
    length = min(query.request.count, len(rows))
    index = {row: at for at, row in enumerate(rows.tolist())} if query.pins else {}
    pins = tuple(Pin(index[row], position) for row, position in query.pins if row in index)
    return CandidateRules(
        boosts=tuple(
            Boost(each.name, catalog.matching(each.filter, "")[rows], each.strength) for each in rules.boosts
        ),
        rotation=_rotation(query, rows),
        pins=pins,
        pins_missed=len(query.pins) - len(pins),
        caps=tuple(Cap(_codes(catalog, rows, each.field), _most(each, length)) for each in rules.caps),
        promotions=tuple(
            Quota(catalog.matching(each.filter, "")[rows], floor(each.share * length))
            for each in rules.promotions
        ),
        promotion_names=tuple(each.name for each in rules.promotions),
        diversity=rules.diversity,
        vectors=candidates.vectors,
    )


def _rotation(query: HydratedQuery, rows: Rows) -> Scores | None:
    if not query.shown:
        return None
    impressions = np.array([query.shown.get(row, 0) for row in rows.tolist()], np.int64)
    return rotated(impressions, query.rules.rotation)


def _most(cap: rules_pb2.Cap, length: int) -> int:
    return cap.most if cap.WhichOneof("limit") == "most" else max(1, ceil(cap.share * length))


def _codes(catalog: InMemoryCatalog, rows: Rows, field: str) -> Indices:
    """A code for each row, int64 [m]. Equal values have equal codes. -1: the item has no value."""
    if field == CATEGORY:
        return catalog.main_category(rows)
    name = field.removeprefix(ATTRIBUTE)
    return _coded(_value(catalog.item(row), name) for row in rows.tolist())


def _value(item: Item, name: str) -> Hashable | None:
    """The item's first value of an attribute. None: it has none."""
    values = item.texts.get(name) or item.numbers.get(name)
    return values[0] if values else None


def _coded(values: Iterable[Hashable | None]) -> Indices:
    codes: dict[Hashable, int] = {}
    return np.array([-1 if each is None else codes.setdefault(each, len(codes)) for each in values], np.int64)
