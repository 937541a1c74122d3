"""Trains the models of a run, each once."""

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from configuration.settings import Settings
from evaluation.data import Data
from evaluation.protocols.held_out import Name
from evaluation.protocols.split import training_part
from evaluation.result_cache import key_of
from inference.bundle.bundle import MANIFEST, Bundle, read
from models.data.events import Events, ItemText
from models.export.compression.int8_bundle import COMPRESSION_FORMAT, write_int8
from models.training.identity import TRAINING_FORMAT
from models.training.settings import TeacherSettings, TrainSettings
from models.training.train import train_on


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model.

    Attributes:
        key: A hash of everything that the training depends on.
        folder: Folder of its bundle.
    """

    key: str
    folder: Path

    def bundle(self) -> Bundle:
        """Reads the bundle. Raises BundleRefused."""
        return read(self.folder)

    def int8(self) -> Bundle:
        """The same model in int8, in a folder of its own. It is written unless it exists in this format.

        How much quality it loses is not checked here: the table shows it.

        Raises:
            CompressionFailed: The int8 form cannot be written.
        """
        folder = self.folder.with_name(f"{self.folder.name}-int8-{COMPRESSION_FORMAT}")
        if not (folder / MANIFEST).is_file():
            write_int8(self.bundle(), folder)
        return read(folder)


@dataclass(slots=True)
class Trainer:
    """Trains models on the training part of a protocol. Protocols with equal training parts share a model.

    Attributes:
        settings: All settings.
        folder: Keeps the models.
        data: The data set.
        console: Where trainings are announced.
        progress: Makes a context that shows progress.
    """

    settings: Settings
    folder: Path
    data: Data
    console: Console
    progress: Callable[[], AbstractContextManager[Progress]]
    _seconds: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> list[float]:
        """Seconds of each training that `trained` returned, in this run or an earlier one."""
        return list(self._seconds.values())

    def train(self, wanted: Sequence[tuple[Name, int]], jobs: int) -> None:
        """Trains the missing models of these protocols and seeds, `jobs` at a time. Raises ModelsError.

        One training of this size leaves a second core idle half of the time. With one job or one missing model this
        does nothing, and `trained` trains.
        """
        missing = {}
        for protocol, seed in wanted:
            training_events = training_part(self.data.known, protocol)
            found = self._found(training_events, seed)
            if not (found.folder / MANIFEST).is_file():
                missing[found.key] = (protocol, seed, training_events, found.folder)
        if jobs < 2 or len(missing) < 2:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, spawn) as pool, self.progress() as show:
            bar = show.add_task(f"Trainings, {jobs} at a time", total=len(missing))
            running = {}
            for protocol, seed, training_events, folder in missing.values():
                settings = self._with_cache(self._wanted(seed))
                alone = settings.model_copy(update={"threads": max(1, settings.threads // jobs)})
                task = pool.submit(_train, training_events, self.data.items, alone, folder)
                running[task] = f"{protocol}, seed {seed}"
            for task in as_completed(running):
                self.console.print(f"Trained for {running[task]}: {task.result():.0f} s", highlight=False)
                show.advance(bar)

    def trained(self, protocol: Name, seed: int) -> Trained:
        """The model of this protocol and seed. It is trained now unless it exists. Raises ModelsError."""
        training_events = training_part(self.data.known, protocol)
        found = self._found(training_events, seed)
        if not (found.folder / MANIFEST).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.console.print(f"Training for {protocol}, seed {seed}", highlight=False)
            with self.progress() as show:
                train_on(
                    training_events, self.data.items, self._with_cache(self._wanted(seed)), found.folder, show
                )
        manifest = json.loads((found.folder / MANIFEST).read_text(encoding="utf-8"))
        self._seconds[found.key] = float(manifest["metrics"].get("seconds", 0.0))
        return found

    def without_teacher(self) -> "Trainer | None":
        """A trainer of the same students without a teacher; None if they have none anyway."""
        train = self.settings.train
        if not train.teacher.members:
            return None
        alone = train.model_copy(update={"teacher": TeacherSettings()})
        return replace(self, settings=self.settings.model_copy(update={"train": alone}))

    def _found(self, training_events: Events, seed: int) -> Trained:
        texts = [(item.item_id, item.text, item.published_ms) for item in self.data.items]
        wanted = self._wanted(seed).model_dump(mode="json", exclude={"threads"})
        key = key_of(training_events.fingerprint(), texts, wanted, TRAINING_FORMAT)
        return Trained(key, self.folder / key)

    def _wanted(self, seed: int) -> TrainSettings:
        """The settings with which `recstream train` trains."""
        profiles = self.settings.profiles
        return self.settings.train.model_copy(
            update={
                "history": profiles.history,
                "refold_every": profiles.refold_every,
                "actions": profiles.actions,
                "seed": seed,
                "text_attributes": self.data.text_attributes,
            }
        )

    def _with_cache(self, wanted: TrainSettings) -> TrainSettings:
        return wanted.model_copy(update={"cache": wanted.cache or self.folder.with_name("item-vectors")})


def _train(
    training_events: Events, items: Sequence[ItemText], settings: TrainSettings, folder: Path
) -> float:
    """Trains in a process of its own. Returns the seconds that it took."""
    return train_on(training_events, items, settings, folder).metrics["seconds"]
