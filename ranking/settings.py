"""Settings of ranking, by surface."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from ranking.rules.settings import RulesSettings

DEFAULT_SURFACE: Final = "default"
"""The surface whose settings apply where another surface sets nothing."""
MAX_SURFACES: Final = 100
"""Most surfaces besides `default`. Metrics have series for each."""

SurfaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]


class SurfaceSettings(BaseModel):
    """Settings that may differ between the surfaces that show lists."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    nearest: int = Field(default=200, ge=0, le=2000, description="Candidates nearest to the user's vector")
    similar: int = Field(
        default=100, ge=0, le=2000, description="Candidates similar to the last positive items, in total"
    )
    similar_seeds: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Number of last positive items for which similar ones are searched",
    )
    popular: int = Field(
        default=100,
        ge=0,
        le=2000,
        description="Candidates by lasting popularity; at least as many as the list has positions",
    )
    trending: int = Field(
        default=100,
        ge=0,
        le=2000,
        description="Candidates by popularity now; at least as many as the list has positions, or none if 0",
    )
    fresh: int = Field(default=30, ge=0, le=2000, description="Candidates that are new in the catalogue")
    fresh_days: float = Field(
        default=14, ge=0, description="Days after its publication for which an item is new"
    )
    exploration_share: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Share of the list's positions reserved for new items, independent of their score",
    )
    category_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of a list that one main category may have while there are items of others; 1: no cap",
    )
    rating_weight: float = Field(
        default=0,
        ge=0,
        description="Weight of a rated action's predicted value in the blended score. The value adds rating_weight * "
        "the action's weight * its probability * the value scaled to -1 to 1, with 0 at `positive_from`",
    )
    action_weights: dict[str, float] = Field(
        default_factory=dict, description="Weights that differ from those of the profiles' actions"
    )
    rules: RulesSettings = Field(
        default=RulesSettings(),
        description="Rules of its lists; a surface that sets any has none of `default`",
    )


def evaluation() -> dict[str, SurfaceSettings]:
    """The surface of evaluations: the model's order, unchanged by exploration, caps or rules."""
    plain = SurfaceSettings(trending=0, fresh=0, exploration_share=0, category_share=1, rules=RulesSettings())
    return {"evaluation": plain}


class Surfaces(BaseModel):
    """How the lists of each surface are made. A surface takes settings that it does not have from `default`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: SurfaceSettings = Field(
        default=SurfaceSettings(),
        description="Settings of the default surface, and what other surfaces do not set",
    )
    surfaces: dict[SurfaceName, SurfaceSettings] = Field(
        default_factory=evaluation,
        max_length=MAX_SURFACES,
        description="By surface name, the settings that differ from `default`",
    )

    @field_validator("surfaces")
    @classmethod
    def _with_evaluation(cls, surfaces: dict[str, SurfaceSettings]) -> dict[str, SurfaceSettings]:
        if DEFAULT_SURFACE in surfaces:
            raise ValueError(
                f"{DEFAULT_SURFACE!r} is the default surface; set it under `default`, beside `surfaces`"
            )
        return {**evaluation(), **surfaces}

    @property
    def surface_names(self) -> tuple[str, ...]:
        """All surfaces, `default` first."""
        return (DEFAULT_SURFACE, *self.surfaces)

    def surface(self, name: str) -> SurfaceSettings:
        """The settings of a surface. Where it sets nothing, those of `default`. An unknown one sets nothing."""
        own = self.surfaces.get(name)
        return self.default if own is None else self.default.model_copy(update=_set(own))


class RankingSettings(Surfaces):
    """The pipeline's settings. A version of the surfaces, once there is one, replaces `default` and `surfaces`."""

    trending_half_life_hours: float = Field(
        default=24, gt=0, description="Age in hours at which an event counts half for trending"
    )
    model_timeout_ms: float = Field(
        default=150, gt=0, description="Longest time that a list waits for the model"
    )
    refold_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the time left that may be spent on refolding a state that is behind",
    )
    reasons_wait_ms: float = Field(
        default=15, ge=0, description="Longest time that a ranked list waits for its reasons"
    )
    reasons_events: int = Field(
        default=32,
        ge=1,
        description="Number of newest events of the model's history that may be reasons",
    )
    reserve_ms: float = Field(
        default=10, ge=0, description="Time before the deadline reserved for selection, reasons and sending"
    )
    history_cache_size: int = Field(
        default=2000, ge=1, description="Users whose last encoded history is cached; about 20 KB each"
    )

    def with_surfaces(self, surfaces: Surfaces) -> "RankingSettings":
        """The same settings with other surfaces."""
        return self.model_copy(update={"default": surfaces.default, "surfaces": surfaces.surfaces})


def _set(own: SurfaceSettings) -> Mapping[str, Any]:
    return {name: getattr(own, name) for name in own.model_fields_set}
