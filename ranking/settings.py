"""How lists are made, a surface each."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

DEFAULT_SURFACE: Final = "default"
"""The surface whose settings count wherever another one sets nothing."""


class SurfaceSettings(BaseModel):
    """What may differ between the surfaces that show lists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nearest: int = Field(default=200, ge=0, le=2000, description="Candidates nearest to the user's vector")
    similar: int = Field(
        default=100, ge=0, le=2000, description="Candidates similar to the last positive items, all together"
    )
    similar_seeds: int = Field(
        default=3, ge=1, le=20, description="How many of the last positive items are looked around"
    )
    popular: int = Field(
        default=100,
        ge=0,
        le=2000,
        description="Candidates by lasting popularity; never fewer than the list has positions",
    )
    trending: int = Field(
        default=100,
        ge=0,
        le=2000,
        description="Candidates by popularity now; 0: none, else never fewer than the list has positions",
    )
    fresh: int = Field(default=30, ge=0, le=2000, description="Candidates that are new in the catalogue")
    fresh_days: float = Field(
        default=14, ge=0, description="An item is new for so long after its publication"
    )
    exploration_share: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share of the list's positions that new items get, whatever their score",
    )
    category_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of a list that a main category may hold if others are left; 1: no cap",
    )
    rating_weight: float = Field(
        default=0,
        ge=0,
        description="What a rated action's predicted value adds to the blended score: this, times the "
        "action's weight, times its probability, times -1 to 1 over the scale (0: where it begins to be positive)",
    )
    action_weights: dict[str, float] = Field(
        default_factory=dict, description="Weights that differ from those of the profiles' actions"
    )


def evaluation() -> dict[str, SurfaceSettings]:
    """The surface of measurements: the model's order with nothing moved."""
    return {"evaluation": SurfaceSettings(trending=0, fresh=0, exploration_share=0, category_share=1)}


class RankingSettings(BaseModel):
    """The pipeline's settings. A surface takes from `default` whatever it does not set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: SurfaceSettings = Field(default=SurfaceSettings(), description="Every surface without its own")
    surfaces: dict[str, SurfaceSettings] = Field(
        default_factory=evaluation, description="By surface name: what differs there from `default`"
    )
    trending_half_life_hours: float = Field(
        default=24, gt=0, description="Age at which an event counts half for trending"
    )
    model_timeout_ms: float = Field(default=150, gt=0, description="Most that one list waits for the model")
    refold_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the time left that may go into refolding a state that is behind",
    )
    reasons_wait_ms: float = Field(
        default=15, ge=0, description="Most that a ranked list waits for its reasons"
    )
    reasons_events: int = Field(
        default=32,
        ge=1,
        description="How many of the newest events of the model's history reasons are looked for among",
    )
    reserve_ms: float = Field(
        default=10, ge=0, description="Kept of the deadline for selection, reasons and sending"
    )
    history_cache_size: int = Field(
        default=2000, ge=1, description="Users whose last encoded history is cached, about 20 KB each"
    )

    @field_validator("surfaces")
    @classmethod
    def _with_evaluation(cls, surfaces: dict[str, SurfaceSettings]) -> dict[str, SurfaceSettings]:
        return {**evaluation(), **surfaces}

    @property
    def surface_names(self) -> tuple[str, ...]:
        """The surfaces that are configured, `default` first."""
        return (DEFAULT_SURFACE, *(name for name in self.surfaces if name != DEFAULT_SURFACE))

    def surface(self, name: str) -> SurfaceSettings:
        """The settings of a surface: those of `default` where it sets nothing, or is not configured."""
        own = self.surfaces.get(name) if name != DEFAULT_SURFACE else None
        return self.default if own is None else self.default.model_copy(update=_set(own))


def _set(own: SurfaceSettings) -> Mapping[str, Any]:
    return {name: getattr(own, name) for name in own.model_fields_set}
