"""How `recstream train --continue` learns the events that came since."""

from pydantic import BaseModel, ConfigDict, Field


class FreshSettings(BaseModel):
    """A few passes at a low rate, with older events among the new ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(4, ge=1, description="Passes over the new events")
    learning_rate: float = Field(1e-3, gt=0, description="The highest learning rate")
    rehearsal: float = Field(
        2.0,
        ge=0,
        description="Stretches of older events for each that ends in new ones, so that nothing is forgotten",
    )
    most_users: int = Field(
        100_000, ge=1, description="Users whose older events are drawn from, those with new events aside"
    )
