"""What a training leaves for the next one, in a folder beside the bundle, which holds only what serving needs.

- `weights.pt`: the model's numbers
- `training.json`: written last; what they are of, and up to when events were learned
"""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from inference.bundle.bundle import checksum
from models.data.events import Ints
from models.errors import WeightsMissing
from models.export.bundle_writer import replace_folder
from models.network.recommender import Recommender, Shape
from models.training.settings import TrainSettings

_WEIGHTS: Final = "weights.pt"
_RECORD: Final = "training.json"


class Record(BaseModel):
    """What the weights are of. version: of the bundle. item_ids: of the id embedding, in its order. newest_ms: time of
    the latest event that was learned from, Unix milliseconds; None where times were not real."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: int
    settings: TrainSettings
    shape: Shape
    item_ids: tuple[str, ...]
    text_encoder: str
    newest_ms: int | None
    data_fingerprint: str
    weights_checksum: str = ""


@dataclass(frozen=True, slots=True)
class TrainingWeights:
    """A record and its numbers by name."""

    record: Record
    numbers: Mapping[str, Tensor]

    def indices(self, item_ids: Sequence[str]) -> Ints:
        """Rows of the id embedding [n]; 0 for an item that was not learned from."""
        places = {item_id: place for place, item_id in enumerate(self.record.item_ids, start=1)}
        return np.array([places.get(item_id, 0) for item_id in item_ids], np.int64)

    def model(self, settings: TrainSettings, item_ids: Sequence[str] = ()) -> Recommender:
        """With these dropouts. The items come after the record's own; their embeddings are zeros: see
        `ItemHead.begin`."""
        shape = self.record.shape
        grown = Shape(**{**asdict(shape), "items": shape.items + len(item_ids)})
        model = Recommender(grown, settings.dropout, settings.id_dropout, settings.media_dropout)
        ids = self.numbers["item.ids.weight"]
        new = torch.zeros(len(item_ids), shape.width)
        model.load_state_dict({**self.numbers, "item.ids.weight": torch.cat([ids, new])})
        return model


def weights_folder(bundle: Path) -> Path:
    """Where the weights of the bundle are kept."""
    return bundle.with_name(f"{bundle.name}.training")


def save_weights(folder: Path, weights: TrainingWeights) -> None:
    """Whole or not at all; what was there before is replaced."""
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        with (partial / _WEIGHTS).open("wb") as file:
            torch.save(dict(weights.numbers), file)
            file.flush()
            os.fsync(file.fileno())
        record = weights.record.model_copy(update={"weights_checksum": checksum(partial / _WEIGHTS)})
        (partial / _RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
        replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_weights(folder: Path) -> TrainingWeights:
    """Raises WeightsMissing where the folder is not there, not whole or of another form."""
    try:
        record = Record.model_validate_json((folder / _RECORD).read_bytes())
        if checksum(folder / _WEIGHTS) != record.weights_checksum:
            raise WeightsMissing(f"{folder / _WEIGHTS} was changed or not copied whole")
        numbers: dict[str, Any] = torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsMissing(
            f"{error.filename} is missing: `recstream train` writes it beside the bundle, and nothing that serves "
            "needs it, so it may not have been copied along"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WeightsMissing(f"{folder / _RECORD}: {place}: {first['msg']}") from error
    return TrainingWeights(record, numbers)
