"""What is left out of training, why, and how much of it.

Every count here is of training rows alone: what is held out could be anything, and nothing would be left out
otherwise.
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
    """What to leave out of training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_user_events: int = Field(0, ge=0, description="Users with fewer training events teach nothing")
    min_item_events: int = Field(
        0, ge=0, description="The same for items; both hold at once, so it is repeated until nothing changes"
    )
    most_events_a_day: int | None = Field(
        None,
        ge=1,
        description="Users with more training events in any 24 hours are no people; none: no limit",
    )


@dataclass(slots=True)
class Step:
    """One thing that was looked for: training rows, users and items it concerns, and what was done. items: None where
    they were not counted."""

    name: str
    done: str
    rows: int
    users: int = 0
    items: int | None = 0


@dataclass(slots=True)
class PreparationReport:
    """The account of a preparation: training rows before and after, and the steps between.

    held_out_tied: held-out events that share user and moment with another: their order is the hash's (or the
    file's), and so is what is asked of them.
    """

    rows: int
    kept: int = 0
    steps: list[Step] = field(default_factory=list)
    held_out: int = 0
    held_out_tied: int = 0

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
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
    """keep: bool [n], which of the events stay. Held-out rows all stay, other than those with values that no
    server would take."""

    keep: Mask
    report: PreparationReport


def prepare(
    known: Events, training: Mask, settings: PreparationSettings, actions: Actions | None = None
) -> Prepared:
    """training: bool [n], the rows that may be learned from. actions: their ranges of values, as configured."""
    report = PreparationReport(int(training.sum()), held_out=int((~training).sum()))
    keep = np.ones(len(known), np.bool_)

    def note(name: str, done: str, rows: Mask) -> None:
        rows = rows & training
        users, items = np.unique(known.users[rows]).size, np.unique(known.items[rows]).size
        report.steps.append(Step(name, done, int(rows.sum()), users, items))

    note("value missing", "kept: the action is learned from, a rating is not", _valueless(known))
    outside = _outside(known, actions)
    note("value outside the action's range", "left out", outside)
    keep &= ~outside
    note("item taken again by its user", "kept", _again(known, training))
    together = tied(known)
    note("user and moment shared with another", "kept, in the order of the table", together)
    report.held_out_tied = int((together & ~training).sum())
    if settings.most_events_a_day is not None and known.timed:
        hasty = _hasty(known, keep & training, settings.most_events_a_day)[known.users]
        note(f"user with more than {settings.most_events_a_day} events in a day", "left out", hasty & keep)
        keep &= ~(hasty & training)
    if settings.min_user_events > 1 or settings.min_item_events > 1:
        rare = (
            training
            & keep
            & ~core(known, training & keep, settings.min_user_events, settings.min_item_events)
        )
        note(
            f"fewer than {settings.min_user_events} events of the user or {settings.min_item_events} of the item",
            "left out",
            rare,
        )
        keep &= ~rare
    report.kept = int((keep & training).sum())
    return Prepared(keep, report)


def core(known: Events, rows: Mask, min_user: int, min_item: int) -> Mask:
    """bool [n]: those of `rows` in which every user has `min_user` events and every item `min_item` at once."""
    left = rows.copy()
    while True:
        users = np.bincount(known.users[left], minlength=len(known.user_ids))
        items = np.bincount(known.items[left], minlength=len(known.item_ids))
        still = left & (users[known.users] >= min_user) & (items[known.items] >= min_item)
        if still.sum() == left.sum():
            return left
        left = still


def tied(known: Events) -> Mask:
    """bool [n]: which events share their user and moment with another."""
    order = np.lexsort((known.time_ms, known.users))
    same = (np.diff(known.users[order]) == 0) & (np.diff(known.time_ms[order]) == 0)
    found = np.zeros(len(known), np.bool_)
    found[order] = np.append(same, False) | np.append(False, same)
    return found


def _valueless(known: Events) -> Mask:
    """Rows without a value whose action has one elsewhere."""
    without = np.isnan(known.values)
    valued = np.bincount(known.actions[~without], minlength=len(known.action_names)) > 0
    return without & valued[known.actions]


def _outside(known: Events, actions: Actions | None) -> Mask:
    low = np.full(len(known.action_names), -np.inf)
    high = np.full(len(known.action_names), np.inf)
    for place, name in enumerate(known.action_names):
        if actions is not None and name in actions and (scale := actions[name].value_range) is not None:
            low[place], high[place] = scale
    return (known.values < low[known.actions]) | (known.values > high[known.actions])


def _again(known: Events, training: Mask) -> Mask:
    """Training rows whose user took the item in an earlier one."""
    rows = np.flatnonzero(training)
    pairs = known.users[rows] * len(known.item_ids) + known.items[rows]
    _, first = np.unique(pairs, return_index=True)
    found = training.copy()
    found[rows[first]] = False
    return found


def _hasty(known: Events, rows: Mask, most: int) -> Mask:
    """bool [users]: who has more than `most` of these rows within 24 hours."""
    chosen = np.flatnonzero(rows)
    order = chosen[np.lexsort((known.time_ms[chosen], known.users[chosen]))]
    users, times = known.users[order], known.time_ms[order]
    close = (users[most:] == users[:-most]) & (times[most:] - times[:-most] < DAY_MS)
    found = np.zeros(len(known.user_ids), np.bool_)
    found[users[most:][close]] = True
    return found
