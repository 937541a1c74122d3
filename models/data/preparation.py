"""Filters the training events, and reports what was left out and why.

All counts are of training rows only, so that held-out events do not influence what is left out.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.data.events import Events
from profiles.actions import Actions

Mask = NDArray[np.bool_]
DAY_MS = 86_400_000


class PreparationSettings(BaseModel):
    """Events that are left out of the training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_user_events: int = Field(0, ge=0, description="Users with fewer training events are left out")
    min_item_events: int = Field(
        0,
        ge=0,
        description="Items with fewer training events are left out; both limits hold together (a k-core)",
    )
    max_events_per_day: int | None = Field(
        None,
        ge=1,
        description="Users with more training events within any 24 hours are left out as bots; none: no limit",
    )


@dataclass(slots=True)
class Step:
    """A check of the preparation.

    Attributes:
        name: what was found.
        done: what was done about it.
        rows: training rows that have it.
        users: users of these rows.
        items: items of these rows; None if they were not counted.
    """

    name: str
    done: str
    rows: int
    users: int = 0
    items: int | None = 0


@dataclass(slots=True)
class PreparationReport:
    """What a preparation did.

    Attributes:
        rows: training rows before.
        kept: training rows after.
        steps: the checks, in order.
        held_out: held-out rows.
        held_out_tied: held-out rows with the same user and time as another row. Their order, and so the queries of an
            evaluation, depends on a hash or on the file.
    """

    rows: int
    kept: int = 0
    steps: list[Step] = field(default_factory=list)
    held_out: int = 0
    held_out_tied: int = 0

    def as_dict(self) -> dict[str, object]:
        """JSON values for `--json`."""
        return {
            "rows": self.rows,
            "kept": self.kept,
            "held_out": self.held_out,
            "held_out_tied": self.held_out_tied,
            "steps": [
                {"name": s.name, "done": s.done, "rows": s.rows, "users": s.users, "items": s.items}
                for s in self.steps
            ],
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """The result of a preparation.

    Attributes:
        keep: which events stay [n]. Held-out rows stay, except those with values that a server rejects.
        report: what was left out.
    """

    keep: Mask
    report: PreparationReport


def prepare(
    events: Events, training: Mask, settings: PreparationSettings, actions: Actions | None = None
) -> Prepared:
    """Decides which events a training uses.

    Args:
        events: training and held-out events.
        training: which of them are training rows [n].
        settings: what to leave out.
        actions: the configured actions, with their ranges of values.
    """
    report = PreparationReport(int(training.sum()), held_out=int((~training).sum()))
    keep = np.ones(len(events), np.bool_)

    def note(name: str, done: str, rows: Mask) -> None:
        rows = rows & training
        users, items = np.unique(events.users[rows]).size, np.unique(events.items[rows]).size
        report.steps.append(Step(name, done, int(rows.sum()), users, items))

    note("value missing", "kept: the action is learned, a rating is not", _without_value(events))
    outside = _outside_range(events, actions)
    note("value outside the action's range", "left out", outside)
    keep &= ~outside
    note("item repeated by its user", "kept", _repeated(events, training))
    tied = time_ties(events)
    note("same user and time as another event", "kept, in the order of the table", tied)
    report.held_out_tied = int((tied & ~training).sum())
    if settings.max_events_per_day is not None and events.timed:
        over_limit = _users_over_daily_limit(events, keep & training, settings.max_events_per_day)[
            events.users
        ]
        note(
            f"user with more than {settings.max_events_per_day} events in 24 hours",
            "left out",
            over_limit & keep,
        )
        keep &= ~(over_limit & training)
    if settings.min_user_events > 1 or settings.min_item_events > 1:
        rare = (
            training
            & keep
            & ~k_core(events, training & keep, settings.min_user_events, settings.min_item_events)
        )
        note(
            f"fewer than {settings.min_user_events} events of the user or {settings.min_item_events} of the item",
            "left out",
            rare,
        )
        keep &= ~rare
    report.kept = int((keep & training).sum())
    return Prepared(keep, report)


def k_core(events: Events, rows: Mask, min_user: int, min_item: int) -> Mask:
    """The largest subset of `rows` in which every user has `min_user` events and every item `min_item` [n]."""
    left = rows.copy()
    while True:
        users = np.bincount(events.users[left], minlength=len(events.user_ids))
        items = np.bincount(events.items[left], minlength=len(events.item_ids))
        still = left & (users[events.users] >= min_user) & (items[events.items] >= min_item)
        if still.sum() == left.sum():
            return left
        left = still


def time_ties(events: Events) -> Mask:
    """Which events have the same user and time as another [n]."""
    order = np.lexsort((events.time_ms, events.users))
    same = (np.diff(events.users[order]) == 0) & (np.diff(events.time_ms[order]) == 0)
    found = np.zeros(len(events), np.bool_)
    found[order] = np.append(same, False) | np.append(False, same)
    return found


def _without_value(events: Events) -> Mask:
    """Events without a value whose action has values elsewhere."""
    without = np.isnan(events.values)
    valued = np.bincount(events.actions[~without], minlength=len(events.action_names)) > 0
    return without & valued[events.actions]


def _outside_range(events: Events, actions: Actions | None) -> Mask:
    low = np.full(len(events.action_names), -np.inf)
    high = np.full(len(events.action_names), np.inf)
    for place, name in enumerate(events.action_names):
        if actions is not None and name in actions and (scale := actions[name].value_range) is not None:
            low[place], high[place] = scale
    return (events.values < low[events.actions]) | (events.values > high[events.actions])


def _repeated(events: Events, training: Mask) -> Mask:
    """Training rows whose user has an earlier training row of the same item."""
    rows = np.flatnonzero(training)
    pairs = events.users[rows] * len(events.item_ids) + events.items[rows]
    _, first = np.unique(pairs, return_index=True)
    found = training.copy()
    found[rows[first]] = False
    return found


def _users_over_daily_limit(events: Events, rows: Mask, most: int) -> Mask:
    """Users with more than `most` of these rows within 24 hours [users]."""
    chosen = np.flatnonzero(rows)
    order = chosen[np.lexsort((events.time_ms[chosen], events.users[chosen]))]
    users, times = events.users[order], events.time_ms[order]
    close = (users[most:] == users[:-most]) & (times[most:] - times[:-most] < DAY_MS)
    found = np.zeros(len(events.user_ids), np.bool_)
    found[users[most:][close]] = True
    return found
