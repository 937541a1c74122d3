"""How a model is trained."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from profiles.actions import Action, default_actions


class TrainSettings(BaseModel):
    """Widths, lengths and rates of a training. The defaults suit a hundred thousand events on two cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_model: Path | None = Field(
        None,
        description="Folder of the Hugging Face encoder for item texts; none: the one that a package ships",
    )
    text_tokens: int = Field(64, ge=2, le=512, description="Tokens of an item's text at most")
    width: int = Field(64, ge=4, le=1024, description="d: width of item and user vectors")
    channels: int = Field(192, ge=4, le=4096, description="S: width of a user's state")
    hidden: int = Field(128, ge=4, le=4096, description="Width of the hidden layers")
    history: int = Field(
        64, ge=1, le=1024, description="N: events that a state always covers; as the profiles have it"
    )
    refold_every: int = Field(
        32, ge=1, le=1024, description="K: events between refolds; as the profiles have it"
    )
    half_life_days: float = Field(7, gt=0, description="Half-life of popularity; as the catalogue has it")
    actions: dict[str, Action] = Field(default_factory=default_actions, description="Actions by name")
    epochs: int = Field(12, ge=1, description="Passes over the events")
    batch: int = Field(16, ge=1, description="Histories in a batch")
    learning_rate: float = Field(3e-3, gt=0, description="The highest learning rate")
    weight_decay: float = Field(1e-4, ge=0, description="Weight decay (AdamW)")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of inputs dropped in training")
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of item ids dropped in training")
    positive_weight: float = Field(2.0, gt=0, description="Weight of a positive next event against any other")
    negatives: int = Field(
        4096, ge=16, description="Items that a next event is told from; a sample where there are more"
    )
    ranker_epochs: int = Field(1, ge=1, description="Passes of the ranker over its lists")
    ranker_learning_rate: float = Field(1.5e-3, gt=0, description="The same for the ranker")
    ranker_share: float = Field(
        0.5, gt=0, le=1, description="Share of the events that a pass makes a list of"
    )
    ranker_candidates: int = Field(100, ge=8, description="Candidates of a list in the ranker's training")
    seed: int = Field(0, ge=0, description="Seed of everything random")
    threads: int = Field(2, ge=1, description="Threads of torch")
    version: int | None = Field(
        None, gt=0, description="The model version; none: the Unix time of the training"
    )
    cache: Path | None = Field(
        None, description="File (.npz) for text vectors, so that no text is embedded twice"
    )
