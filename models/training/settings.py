"""Settings of a training. Nothing here loads torch: every command reads them."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.data.preparation import PreparationSettings
from models.encoders.settings import EncoderSettings
from profiles.actions import Action, default_actions

Device = Literal["auto", "cpu", "cuda"]


class StreamingSettings(BaseModel):
    """When a training reads its events from disk, and how many of them it holds in memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_rows: int = Field(
        20_000_000,
        ge=0,
        description="Parquet files with at least this many events in all are trained on from disk, not from memory",
    )
    shard_rows: int = Field(
        1_000_000, ge=1, description="Events in a shard; one shard is in memory at a time"
    )
    sample_rows: int = Field(
        1_000_000,
        ge=1,
        description="Events of the sampled users on which the stages after the encoder are trained",
    )
    folder: Path | None = Field(
        None, description="Folder of the shards during the training; none: beside the bundle"
    )


class ContinuationSettings(BaseModel):
    """How `recstream train --continue` learns from new events: a few epochs at a low rate, with rehearsal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(4, ge=1, description="Epochs over the new events")
    learning_rate: float = Field(1e-3, gt=0, description="The highest learning rate")
    rehearsal: float = Field(
        2.0,
        ge=0,
        description="Windows of older events for each window of new events, so that the model does not forget",
    )
    max_users: int = Field(
        100_000, ge=1, description="Maximum number of users without new events whose older events are sampled"
    )


class TeacherSettings(BaseModel):
    """Size and training of the teacher, and its share of the student's loss. Settings that are missing here have the
    values of the served model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(
        0,
        ge=0,
        le=16,
        description="Attention models in the teacher's ensemble; 0: no teacher and no distillation",
    )
    width: int = Field(64, ge=4, le=4096, description="Width of a member's hidden layers and vectors")
    layers: int = Field(2, ge=1, le=48, description="Attention blocks of a member")
    heads: int = Field(4, ge=1, le=64, description="Attention heads of a block; a divisor of the width")
    epochs: int = Field(12, ge=1, description="Epochs over the events without the held-out part")
    final_epochs: int = Field(6, ge=1, description="Epochs over all events afterwards")
    batch: int = Field(8, ge=1, description="Histories in a batch")
    learning_rate: float = Field(2e-3, gt=0, description="The highest learning rate")
    final_learning_rate: float = Field(
        1.4e-3, gt=0, description="The highest learning rate of the final epochs"
    )
    weight_decay: float = Field(1e-2, ge=0, description="Weight decay (AdamW)")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of item ids that are dropped in training")
    temperature: float | None = Field(
        0.1, gt=0, description="Initial temperature of the cosine similarity; none: inner product"
    )
    long_term_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of the long-term loss, like `train.long_term_weight`; 0: the student's long-term vector is "
        "not distilled either",
    )
    distillation_temperature: float = Field(
        1.0, gt=0, description="Temperature of the two distributions that distillation compares"
    )
    distillation_weight: float = Field(
        0.1, ge=0, le=1, description="Share of the divergence from the teacher in the served model's loss"
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "TeacherSettings":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        return self


class TrainSettings(BaseModel):
    """Sizes and rates of a training. The defaults suit a hundred thousand timed ratings on two cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoders: EncoderSettings = Field(EncoderSettings(), description="Pretrained encoders of items")
    text_attributes: tuple[str, ...] | None = Field(
        None,
        max_length=1_000,
        description="Attributes of items whose texts the model reads; none: those of the training items, the most "
        "frequent 1,000",
    )
    preparation: PreparationSettings = Field(
        PreparationSettings(), description="Events that are left out of the training"
    )
    width: int = Field(64, ge=4, le=1024, description="d: width of item and user vectors")
    channels: int = Field(192, ge=4, le=4096, description="S: width of a user's state")
    hidden: int = Field(128, ge=4, le=4096, description="Width of the hidden layers")
    item_skip_connection: bool = Field(
        True,
        description="Whether an item's vector also enters the user state directly, beside the network's output",
    )
    history: int = Field(
        64,
        ge=1,
        le=1024,
        description="N: events that a state always covers; taken from the profiles' settings",
    )
    refold_every: int = Field(
        32, ge=1, le=1024, description="K: events between two refolds; taken from the profiles' settings"
    )
    popularity_half_lives_days: tuple[float, ...] = Field(
        (3, 14, 90),
        min_length=1,
        description="Half-lives, in days, of the popularities that rank a list; for a user without history only the "
        "middle one counts",
    )
    actions: dict[str, Action] = Field(default_factory=default_actions, description="Actions by name")
    epochs: int = Field(24, ge=1, description="Epochs over the events without the held-out part")
    final_epochs: int = Field(
        12, ge=1, description="Epochs over all events afterwards, if some were held out"
    )
    batch: int = Field(16, ge=1, description="Histories in a batch")
    learning_rate: float = Field(3e-3, gt=0, description="The highest learning rate")
    final_learning_rate: float = Field(
        2e-3, gt=0, description="The highest learning rate of the final epochs"
    )
    weight_averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the last epochs whose weights are averaged (SWA), for encoder and teacher; the learning "
        "rate then falls to 0.3 of its highest value instead of 0.01. 0: the last step's weights are kept",
    )
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay (AdamW)")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of item ids that are dropped in training")
    media_dropout: float = Field(0.2, ge=0, lt=1, description="Share of images that are dropped in training")
    temperature: float | None = Field(
        0.1, gt=0, description="Initial temperature of the cosine similarity; none: inner product"
    )
    positive_weight: float = Field(
        2.0, gt=0, description="Weight of a positive next event; any other has weight 1"
    )
    long_term_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of the long-term loss (predict any later positive event) against the next-item loss",
    )
    advantage: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the next-item loss that is weighted by advantage: rating minus predicted rating",
    )
    negatives: int = Field(
        4096,
        ge=16,
        description="Negatives of the softmax; the full catalogue if it has no more items than this",
    )
    held_out: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the latest events, to which the ranking mixture is fitted; the encoder first trains "
        "without them. 0: lists are ranked by the user vector alone",
    )
    mixture_steps: int = Field(500, ge=1, description="Steps of fitting the ranking mixture, 128 lists each")
    mixture_learning_rate: float = Field(2e-2, gt=0, description="The highest learning rate of these steps")
    ranker_epochs: int = Field(1, ge=1, description="Epochs of fitting the action and value head")
    ranker_candidates: int = Field(400, ge=8, description="Candidates of a list in training")
    seed: int = Field(0, ge=0, description="Seed of all random number generators")
    threads: int = Field(2, ge=1, description="Threads of torch on one machine, shared by its processes")
    device: Device = Field("auto", description="cpu, cuda, or auto: a GPU if torch sees one")
    worker_timeout_seconds: float = Field(
        1800, gt=0, description="Seconds that the processes of a training wait for one that hangs"
    )
    streaming: StreamingSettings = Field(
        StreamingSettings(), description="Trainings on Parquet files that do not fit in memory"
    )
    continuation: ContinuationSettings = Field(
        ContinuationSettings(), description="How `recstream train --continue` learns from new events"
    )
    teacher: TeacherSettings = Field(
        TeacherSettings(),
        description="A larger model that is trained first and distilled into the served one",
    )
    version: int | None = Field(
        None, gt=0, description="The model version; none: the Unix time of the training"
    )
    cache: Path | None = Field(
        None, description="Folder that caches vectors of texts and images across trainings"
    )
