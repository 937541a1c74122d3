"""Splits the events of a data set into training and queries, by one of three protocols.

- `leave-one-out`: The target is each user's last positive event, and the history is everything before it. The target of
  the validation is the positive event before that. Everything before the validation's target is training.
- `next-item`: Training ends at one point in time. Each later positive event is a target, and the history is everything
  that its user did before it. The history grows; the weights stay fixed.
- `future`: Training ends at the same point in time. Each user gets one list then. The targets are all later positive
  events of the user.

All items are ranked. Items that the user has consumed are never a target. More protocols measure items that training
does not have: see `evaluation.protocols.cold`.
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
    """How much is left out, and how much is uncertain.

    Attributes:
        users_too_short: Users without a query, because they have fewer than three positive events (leave-one-out).
        targets_consumed_before: Targets that are left out, because the user had consumed the item before.
        targets_tied: Targets that share user and timestamp with another event. A hash, or the order of the file, says
            which came first.
    """

    users_too_short: int = 0
    targets_consumed_before: int = 0
    targets_tied: int = 0

    def as_dict(self) -> dict[str, int]:
        """JSON values for `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Split:
    """A protocol on one data set.

    Attributes:
        name: The protocol.
        variant: Test or validation.
        known: All events that this variant may use, in ascending time.
        training: Which of them may be trained on, bool [rows].
        queries: The queries.
        relevant: For each query, the items that its list should hold: at least one, none twice, and none that the user
            has consumed.
        excluded: What is left out.
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
        """The events that may be trained on."""
        return self.known.take(np.flatnonzero(self.training))

    def consumed(self, place: int) -> Ints:
        """Items that the list of this query must not hold. An item may occur twice."""
        queries = self.queries
        rows = (queries.before if queries.excluded is None else queries.excluded)[place]
        return self.known.items[rows[~self.known.repeats[rows]]]


def split(known: Events, name: Name, variant: Variant = "test", seed: int = 0) -> Split:
    """Splits all events of a data set. The validation does not contain the test's targets at all.

    Args:
        known: All events.
        name: The protocol.
        variant: Test or validation.
        seed: Chooses the hidden items, if the protocol has any.

    Raises:
        TimesMissing: The protocol needs real timestamps.
        NothingToMeasure: There is no target.
    """
    found = _asked(_parts(known, name, variant, seed), name, variant)
    if not len(found.queries):
        raise NothingToMeasure(
            f"{name} has no target in {len(known):,} events of {len(known.user_ids):,} users"
        )
    return found


def next_items(known: Events, start: int, end: int) -> Split:
    """`next-item` with training before row `start` and targets up to row `end`.

    Raises TimesMissing, NothingToMeasure.
    """
    found = _asked(between(known, "next-item", start, end), "next-item", "test")
    if not len(found.queries):
        raise NothingToMeasure(f"no target in events {start:,} to {end:,}")
    return found


def training_part(known: Events, name: Name) -> Events:
    """The events that a model may be trained on if this protocol measures it. Raises TimesMissing."""
    parts = _parts(known, name, "test", 0)
    return parts.known.take(np.flatnonzero(parts.training))


def _parts(known: Events, name: Name, variant: Variant, seed: int) -> HeldOut:
    if name == "leave-one-out":
        return leave_one_out(known, variant)
    if name == "next-item" or name == "future":
        return from_one_moment(known, name, variant)
    return hidden_items(known, name, variant, seed)


def _asked(parts: HeldOut, name: Name, variant: Variant) -> Split:
    """Makes the queries. A query without a target is left out."""
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
    # In `future`, all lists are of one moment: the first event after training.
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
