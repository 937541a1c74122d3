"""Models of the runs, each trained once."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from cli.evaluation import Data
from cli.progress import progress_on
from cli.settings import Settings
from inference.bundle import MANIFEST, Bundle, read
from models.evaluation.kept import key_of, training_code
from models.evaluation.parts import Name
from models.evaluation.split import training_part
from models.settings import TrainSettings
from models.train import train_on


@dataclass(frozen=True, slots=True)
class Trained:
    """A bundle by its folder, and the key of all that it came of."""

    key: str
    folder: Path

    def bundle(self) -> Bundle:
        """Raises BundleRefused."""
        return read(self.folder)

    @property
    def int8(self) -> Bundle | None:
        """The same model in int8, where it was written beside it."""
        beside = self.folder.with_name(f"{self.folder.name}-int8")
        return read(beside) if (beside / MANIFEST).is_file() else None


@dataclass(slots=True)
class Trainer:
    """Trains on the training part of a protocol; protocols with equal parts share a model. seconds: of each training
    that was asked for, whenever it was."""

    settings: Settings
    folder: Path
    data: Data
    console: Console
    _seconds: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> list[float]:
        return list(self._seconds.values())

    def trained(self, protocol: Name, seed: int) -> Trained:
        """The model of this protocol and seed: trained now unless it is there. Raises ModelsError."""
        learned = training_part(self.data.known, protocol)
        wanted = self._wanted(seed)
        texts = [(item.item_id, item.text, item.published_ms) for item in self.data.items]
        key = key_of(learned.fingerprint(), texts, wanted.model_dump(mode="json"), training_code())
        found = Trained(key, self.folder / key)
        if not (found.folder / MANIFEST).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.console.print(f"Training for {protocol}, seed {seed}", highlight=False)
            with progress_on(self.console) as show:
                train_on(learned, self.data.items, self._with_cache(wanted), found.folder, show)
        manifest = json.loads((found.folder / MANIFEST).read_text(encoding="utf-8"))
        self._seconds[key] = float(manifest["metrics"].get("seconds", 0.0))
        return found

    def _wanted(self, seed: int) -> TrainSettings:
        """As `recstream train` trains."""
        profiles = self.settings.profiles
        return self.settings.train.model_copy(
            update={
                "history": profiles.history,
                "refold_every": profiles.refold_every,
                "actions": profiles.actions,
                "seed": seed,
            }
        )

    def _with_cache(self, wanted: TrainSettings) -> TrainSettings:
        return wanted.model_copy(update={"cache": wanted.cache or self.folder.with_name("item-vectors")})
