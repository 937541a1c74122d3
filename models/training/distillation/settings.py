"""The teacher's form, its training, and how much of it the served model takes over."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TeacherSettings(BaseModel):
    """Widths, rates and losses. What is not named here is as the served model has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(
        0,
        ge=0,
        le=16,
        description="Attention models that teach together, 0: no teacher",
    )
    width: int = Field(64, ge=4, le=4096, description="Width of their hidden layers and of their vectors")
    layers: int = Field(2, ge=1, le=48, description="Blocks of attention")
    heads: int = Field(4, ge=1, le=64, description="Heads of each; a divisor of the width")
    epochs: int = Field(12, ge=1, description="Passes over the events, those held out left aside")
    final_epochs: int = Field(6, ge=1, description="Passes over all events afterwards")
    batch: int = Field(8, ge=1, description="Histories in a batch")
    learning_rate: float = Field(2e-3, gt=0, description="The highest learning rate")
    final_learning_rate: float = Field(
        1.4e-3, gt=0, description="The highest learning rate of the passes over all"
    )
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay (AdamW)")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of numbers dropped in training")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of item ids dropped in training")
    temperature: float | None = Field(
        0.1, gt=0, description="Where that of its cosine similarity begins; none: the inner product"
    )
    taste_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of foretelling any later positive event; 0: the taste is not taught either",
    )
    softening: float = Field(1.0, gt=0, description="Temperature of the two softmaxes that are compared")
    weight: float = Field(
        0.1, ge=0, le=1, description="Share of the divergence from the teacher in the served model's loss"
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "TeacherSettings":
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not divided by {self.heads} heads")
        return self
