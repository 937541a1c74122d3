"""How a model is trained."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from models.data.preparation import PreparationSettings
from models.encoders.settings import EncoderSettings
from models.training.continuation.settings import FreshSettings
from models.training.distillation.settings import TeacherSettings
from models.training.distributed.devices import Device
from profiles.actions import Action, default_actions


class StreamingSettings(BaseModel):
    """When events are learned from on disk, and what is held of them in memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_rows: int = Field(
        20_000_000,
        ge=0,
        description="Parquet files with so many events in all are not read into memory at once",
    )
    shard_rows: int = Field(1_000_000, ge=1, description="Events of a shard: what is held at a time")
    sample_rows: int = Field(
        1_000_000, ge=1, description="Events of the users that lists, actions and values are learned from"
    )
    folder: Path | None = Field(
        None, description="Where the shards are while a training lasts; none: beside the bundle"
    )


class TrainSettings(BaseModel):
    """Widths, lengths and rates of a training. The defaults suit a hundred thousand events on two cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoders: EncoderSettings = Field(EncoderSettings(), description="Pretrained encoders of items")
    preparation: PreparationSettings = Field(
        PreparationSettings(), description="What events are not learned from"
    )
    width: int = Field(64, ge=4, le=1024, description="d: width of item and user vectors")
    channels: int = Field(192, ge=4, le=4096, description="S: width of a user's state")
    hidden: int = Field(128, ge=4, le=4096, description="Width of the hidden layers")
    direct: bool = Field(
        True,
        description="Whether an item's vector enters the state as it is too, beside what is learned of it",
    )
    history: int = Field(
        64, ge=1, le=1024, description="N: events that a state always covers; as the profiles have it"
    )
    refold_every: int = Field(
        32, ge=1, le=1024, description="K: events between refolds; as the profiles have it"
    )
    popularity_half_lives_days: tuple[float, ...] = Field(
        (3, 14, 90),
        min_length=1,
        description="Half-lives of the popularities that lists are ordered by; the middle one orders them alone for a "
        "user without history",
    )
    actions: dict[str, Action] = Field(default_factory=default_actions, description="Actions by name")
    epochs: int = Field(24, ge=1, description="Passes over the events, those held out left aside")
    final_epochs: int = Field(
        12, ge=1, description="Passes over all events afterwards, where some were held out before"
    )
    batch: int = Field(16, ge=1, description="Histories in a batch")
    learning_rate: float = Field(3e-3, gt=0, description="The highest learning rate")
    final_learning_rate: float = Field(
        2e-3, gt=0, description="The highest learning rate of the passes over all"
    )
    averaged: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the passes of encoder and teacher, the last, after each step of which its numbers enter "
        "a mean, which is kept; the learning rate falls to 0.3 of its highest then, not to 0.01. 0: the last step's "
        "numbers are kept",
    )
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay (AdamW)")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of inputs dropped in training")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of item ids dropped in training")
    media_dropout: float = Field(0.2, ge=0, lt=1, description="Share of images dropped in training")
    temperature: float | None = Field(
        0.1,
        gt=0,
        description="Where the temperature of cosine similarity begins; none: similarity is the inner product",
    )
    positive_weight: float = Field(2.0, gt=0, description="Weight of a positive next event against any other")
    taste_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of foretelling any later positive event against foretelling the next event",
    )
    advantage: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the next event's loss in which log p weighs by rating minus predicted rating",
    )
    negatives: int = Field(
        4096, ge=16, description="Items that an event is told from; a sample where there are more"
    )
    held_out: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the events, the latest, that the order of lists is learned from: the encoder is trained "
        "without them first, and goes on with everything. 0: lists are ordered by the user vector alone",
    )
    mixture_steps: int = Field(500, ge=1, description="Steps of learning the order of lists, 128 lists each")
    mixture_learning_rate: float = Field(2e-2, gt=0, description="The highest learning rate of these steps")
    ranker_epochs: int = Field(1, ge=1, description="Passes of learning actions and values")
    ranker_candidates: int = Field(400, ge=8, description="Candidates of a list in training")
    seed: int = Field(0, ge=0, description="Seed of everything random")
    threads: int = Field(2, ge=1, description="Threads of torch on a machine; its processes share them")
    device: Device = Field(
        "auto", description="What is computed on: cpu, cuda, or auto, which is a GPU where there is one"
    )
    worker_timeout_seconds: float = Field(
        1800, gt=0, description="How long processes that train together wait for one that hangs"
    )
    streaming: StreamingSettings = Field(
        StreamingSettings(), description="Trainings from Parquet files that do not fit in memory"
    )
    fresh: FreshSettings = Field(
        FreshSettings(), description="How `recstream train --continue` learns what came since"
    )
    teacher: TeacherSettings = Field(
        TeacherSettings(), description="A larger model, trained first, from which the model learns"
    )
    version: int | None = Field(
        None, gt=0, description="The model version; none: the Unix time of the training"
    )
    cache: Path | None = Field(
        None, description="Folder for vectors of texts and images, so that nothing is encoded twice"
    )
