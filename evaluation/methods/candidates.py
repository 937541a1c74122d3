"""Which items the ranker sees, as the surface `evaluation` has it: near the user, near what he liked last, popular.

The one place of the evaluation that says so. Served lists are proposed by ranking/sources.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.data.events import Events, Floats, Ints

Mask = NDArray[np.bool_]


class CandidateSettings(BaseModel):
    """How many items each source proposes; as the surface has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nearest: int = Field(200, ge=0, description="Nearest to the user's vector")
    similar: int = Field(100, ge=0, description="Similar to the last positive items, all together")
    similar_seeds: int = Field(3, ge=1, description="How many of the last positive items are looked around")
    popular: int = Field(100, ge=0, description="By lasting popularity; never fewer than a list has places")


def candidates(
    near: Floats,
    popular: Floats,
    seeds: Sequence[Ints],
    with_history: Mask,
    allowed: Mask,
    vectors: Floats,
    settings: CandidateSettings,
    *,
    positions: int,
) -> Mask:
    """Which of n items are candidates of b lists, bool [b, n].

    near, popular [b, n]: nearness to the user, lasting popularity. seeds: the last positive items of each, newest
    first. with_history [b]: near a user of whom nothing is known there is nothing. allowed [b, n]. places: of a list.
    """
    found = top(popular, allowed, max(settings.popular, positions))
    found |= top(near, allowed & with_history[:, None], settings.nearest)
    if settings.similar:
        found |= _similar(seeds, allowed, vectors, settings)
    return found


def last_liked(known: Events, before: Ints, count: int) -> Ints:
    """The newest `count` items of a history (rows) on which the last word is a positive one, newest first."""
    found: list[int] = []
    seen: set[int] = set()
    for row in before[::-1].tolist():
        item = int(known.items[row])
        if item not in seen:
            seen.add(item)
            if known.positive[row]:
                found.append(item)
                if len(found) == count:
                    break
    return np.array(found, np.int64)


def top(scores: Floats, allowed: Mask, count: int) -> Mask:
    """The `count` allowed items with the highest scores of each list, bool [b, n]; fewer where there are fewer."""
    size = scores.shape[1]
    if count <= 0:
        return np.zeros(scores.shape, np.bool_)
    if count >= size:
        return allowed.copy()
    masked = np.where(allowed, scores, -np.inf)
    best = np.argpartition(-masked, count - 1, axis=1)[:, :count]
    found = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(found, best, True, axis=1)
    return found & allowed


def _similar(seeds: Sequence[Ints], allowed: Mask, vectors: Floats, settings: CandidateSettings) -> Mask:
    """In turns: the nearest to each seed, the second nearest to each, ... until there are enough."""
    found = np.zeros(allowed.shape, np.bool_)
    lists = np.repeat(np.arange(len(seeds)), [len(items) for items in seeds])
    if not len(lists):
        return found
    items = np.concatenate([np.zeros(0, np.int64), *seeds])
    near = np.where(allowed[lists], vectors[items] @ vectors.T, -np.inf)
    for row, place in enumerate(lists.tolist()):
        near[row, seeds[place]] = -np.inf
    count = min(settings.similar, near.shape[1])
    best = np.argpartition(-near, count - 1, axis=1)[:, :count]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(near, best, 1), axis=1, kind="stable"), 1)
    listed = np.isfinite(np.take_along_axis(near, best, 1))
    ends = np.cumsum([len(items) for items in seeds])
    for place, end in enumerate(ends.tolist()):
        own = slice(end - len(seeds[place]), end)
        turns = best[own].T[listed[own].T]
        # The first of each, in the order in which they came.
        _, first = np.unique(turns, return_index=True)
        found[place, turns[np.sort(first)[: settings.similar]]] = True
    return found
