"""What is learned from and what is asked, three ways.

- `leave-one-out`: of each user the last positive event is to be found, after everything that he did before it; the one
  before that is the validation's. What comes before the validation's target is training.
- `next-item`: one point in time; then each later positive event is to be found, after everything that its user did
  before it. The history grows, the weights stay.
- `future`: the same point in time; one list a user made at it is to hold all that he will like later.

Only items that a user has not taken are asked for, among all items. For items that nobody has seen yet there are two
more, see `evaluation.protocols.cold`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from evaluation.errors import NothingToMeasure
from evaluation.method import EvalQueries
from evaluation.protocols.held_out import (
    HeldOut,
    Mask,
    Name,
    Variant,
    between,
    from_one_moment,
    hidden_items,
    leave_one_out,
)
from models.data.events import Events, Ints
from models.data.preparation import time_ties


@dataclass(frozen=True, slots=True)
class Excluded:
    """What is not asked, and what is asked but uncertain.

    users_too_short: users with fewer than three positive events (leave-one-out). targets_taken_before: their item
    cannot be recommended to their user any more. targets_tied: they are asked, and share user and moment with another
    event: a hash (or the file) says which came first.
    """

    users_too_short: int = 0
    targets_consumed_before: int = 0
    targets_tied: int = 0

    def as_dict(self) -> dict[str, int]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Split:
    """A protocol on one data set.

    known: all events that this variant may see at all, ascending. training [rows]: those that may be learned from.
    relevant: for each query the items that its list should hold, at least one, none twice, none of them consumed.
    """

    name: Name
    variant: Variant
    known: Events
    training: Mask
    queries: EvalQueries
    relevant: Sequence[Ints]
    excluded: Excluded

    @property
    def training_events(self) -> Events:
        """The training part."""
        return self.known.take(np.flatnonzero(self.training))

    def consumed(self, place: int) -> Ints:
        """Items that the list of this query must not hold, some perhaps twice."""
        queries = self.queries
        rows = (queries.before if queries.excluded is None else queries.excluded)[place]
        return self.known.items[rows[~self.known.repeats[rows]]]


def split(known: Events, name: Name, variant: Variant = "test", seed: int = 0) -> Split:
    """The protocol on all events of a data set. What the test asks for is not in the validation's split at all. seed:
    of the choice of hidden items, where some are.

    Raises TimesMissing, NothingToMeasure.
    """
    found = _asked(_parts(known, name, variant, seed), name, variant)
    if not len(found.queries):
        raise NothingToMeasure(
            f"{name} has no target in {len(known):,} events of {len(known.user_ids):,} users"
        )
    return found


def next_items(known: Events, start: int, end: int) -> Split:
    """`next-item` for the events of rows start to end: a stretch of the time after training. Raises TimesMissing,
    NothingToMeasure."""
    found = _asked(between(known, "next-item", start, end), "next-item", "test")
    if not len(found.queries):
        raise NothingToMeasure(f"no target in events {start:,} to {end:,}")
    return found


def training_part(known: Events, name: Name) -> Events:
    """What a model may learn from that is to be measured by this protocol. Raises TimesMissing."""
    parts = _parts(known, name, "test", 0)
    return parts.known.take(np.flatnonzero(parts.training))


def _parts(known: Events, name: Name, variant: Variant, seed: int) -> HeldOut:
    if name == "leave-one-out":
        return leave_one_out(known, variant)
    if name == "next-item" or name == "future":
        return from_one_moment(known, name, variant)
    return hidden_items(known, name, variant, seed)


def _asked(parts: HeldOut, name: Name, variant: Variant) -> Split:
    """The queries that have something to be found."""
    known, tied_rows = parts.known, time_ties(parts.known)
    relevant: list[Ints] = []
    consumed_before = targets_tied = 0
    off_lists = parts.before if parts.consumed is None else parts.consumed
    for rows, own in zip(parts.targets, off_lists, strict=True):
        consumed = known.items[own[~known.repeats[own]]]
        free = rows[~np.isin(known.items[rows], consumed)]
        consumed_before += len(rows) - len(free)
        targets_tied += int(tied_rows[free].sum())
        relevant.append(np.unique(known.items[free]))
    kept = [place for place, items in enumerate(relevant) if len(items)]
    first = np.array([parts.targets[place][0] for place in kept], np.int64)
    visible = parts.visible[kept]
    # Of one moment for all, that of the first event after training.
    times = known.time_ms[visible] if name == "future" else known.time_ms[first]
    queries = EvalQueries(
        known.users[first],
        [parts.before[place] for place in kept],
        times,
        visible,
        None if parts.consumed is None else [parts.consumed[place] for place in kept],
    )
    excluded = Excluded(parts.too_short, consumed_before, targets_tied)
    return Split(name, variant, known, parts.training, queries, [relevant[place] for place in kept], excluded)
