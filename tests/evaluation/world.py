"""Small data sets for tests of the evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evaluation.methods.lists import ListSettings
from models.data.events import Events, ItemText, index_events
from profiles.actions import Action, Actions, ProfileSettings
from ranking.settings import RankingSettings, evaluation

ACTIONS = {
    "rate": Action(positive_from=4.0, value_range=(1, 5)),
    "view": Action(weight=0.2, positive=False, repeats=True),
}
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

EventRow = tuple[str, str, str, int, float]


def list_settings(actions: Mapping[str, Action] | None = None, **surface: object) -> ListSettings:
    """Settings for lists of the surface `evaluation`, with these changes to it."""
    return ListSettings(
        ProfileSettings(actions=dict(ACTIONS if actions is None else actions)),
        RankingSettings.model_validate(
            {
                "surfaces": {
                    "evaluation": {**evaluation()["evaluation"].model_dump(exclude_unset=True), **surface}
                }
            }
        ),
        "evaluation",
    )


class Rows:
    """An interaction table of rows (user, item, action, time_ms, value)."""

    def __init__(self, rows: Sequence[EventRow]) -> None:
        self.user_ids = [row[0] for row in rows]
        self.item_ids = [row[1] for row in rows]
        self.actions = [row[2] for row in rows]
        self.time_ms = np.array([row[3] for row in rows], np.int64)
        self.values = np.array([row[4] for row in rows], np.float64)


def known(rows: Sequence[EventRow], items: Sequence[str] = (), *, timed: bool = True) -> Events:
    """The rows as events; items that only a catalogue names come first."""
    found = index_events([Rows(rows)], [ItemText(item, f"film {item}") for item in items], Actions(ACTIONS))
    return replace(found, timed=timed)


def liked(user: str, items: str, start: int = 0, step: int = HOUR_MS) -> list[EventRow]:
    """A positive rating of each item (a letter each), a step apart."""
    return [(user, item, "rate", start + place * step, 5.0) for place, item in enumerate(items)]


def crowd(users: int = 40, length: int = 12, items: int = 30, seed: int = 0) -> list[EventRow]:
    """Each user walks around the circle of items from a random start, and rates each one: 4 or 5, and sometimes 2."""
    rng = np.random.default_rng(seed)
    rows: list[EventRow] = []
    for user in range(users):
        at, begin = int(rng.integers(items)), int(rng.integers(20)) * DAY_MS
        for step in range(length):
            value = 2.0 if rng.random() < 0.2 else float(rng.integers(4, 6))
            rows.append((f"u{user:03}", f"i{(at + step) % items:02}", "rate", begin + step * HOUR_MS, value))
    return sorted(rows, key=lambda row: row[3])


def ids(found: Events, items: np.ndarray) -> list[str]:
    """Item ids of indices."""
    return [found.item_ids[item] for item in items.tolist()]
