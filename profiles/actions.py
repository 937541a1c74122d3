"""Settings of profiles: the actions of users, and the limits of a profile."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

IMPRESSION: Final = "impression"
"""What an impression is called among the actions of totals."""
UNDO: Final = "undo"
"""What an undo is called among the actions of a history and of totals."""


class Action(BaseModel):
    """One kind of action.

    Attributes:
        weight: Weight of its probability in the blended score. Negative for dislikes.
        positive: Whether it counts in favour of the item: in popularity, similar items and reasons.
        repeats: Whether an item may be recommended again after it. Otherwise the item counts as consumed.
        positive_from: For ratings, the lowest positive value.
        value_range: The range of its value, inclusive. Other values are refused. None: any finite value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = 1.0
    positive: bool = True
    repeats: bool = False
    positive_from: float | None = None
    value_range: tuple[float, float] | None = None

    def is_positive(self, value: float | None) -> bool:
        """Whether an event of this action with this value is a positive one."""
        if self.positive_from is not None and value is not None:
            return value >= self.positive_from
        return self.positive


class Actions(Mapping[str, Action]):
    """The configured actions by name. `impression` and `undo` are no actions."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        if clash := {IMPRESSION, UNDO} & set(actions):
            raise ValueError(
                f"{', '.join(sorted(clash))} cannot be an action: events have it as a kind of their own"
            )
        self._actions = dict(actions)

    def __getitem__(self, name: str) -> Action:
        return self._actions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)


def default_actions() -> dict[str, Action]:
    """The default actions, which fit shops, feeds, video, travel and games."""
    return {
        "view": Action(weight=0.2, repeats=True),
        "click": Action(weight=0.4, repeats=True),
        "like": Action(weight=1.0),
        "dislike": Action(weight=-1.0, positive=False),
        "save": Action(weight=0.8),
        "play": Action(weight=0.8),
        "cart": Action(weight=0.8, repeats=True),
        "purchase": Action(weight=1.0),
        "rate": Action(weight=1.0, positive_from=4.0, value_range=(0.5, 5.0)),
    }


class ProfileSettings(BaseModel):
    """The limits of a profile, its lifetime, and the actions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history: int = Field(default=64, ge=1, le=1024, description="N: events that a model state always covers")
    refold_every: int = Field(
        32, ge=1, le=1024, description="K: events between refolds; the history holds N + K"
    )
    impressions: int = Field(default=50, ge=0, le=500, description="Most impressions in a profile")
    impression_items: int = Field(
        default=20, ge=1, le=50, description="Most items of an impression that a profile holds, from the top"
    )
    tail: int = Field(
        default=5000,
        ge=0,
        le=100_000,
        description="Most consumed items that are kept beyond the history; 12 bytes each",
    )
    time_to_live_days: float = Field(
        365,
        gt=0,
        description="Days after the time of a user's newest event after which the profile expires; events with older "
        "times, such as repeats, do not prolong it",
    )
    max_skew_seconds: float = Field(
        300,
        ge=0,
        description="How far an event's time may be ahead of its record's; one further ahead is replaced by it",
    )
    half_life_days: float = Field(
        7, gt=0, description="Age in days at which an event counts half in `recent`"
    )
    forbidden_user_ids: frozenset[str] = Field(
        default=frozenset({"null", "undefined", "NaN", "None", "[object Object]"}),
        description="Refused user ids: clients send them because of bugs, and would mix many users in one profile",
    )
    actions: dict[str, Action] = Field(default_factory=default_actions, description="Actions by name")
