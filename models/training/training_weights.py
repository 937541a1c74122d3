"""The weights that a training leaves for its continuation, in a folder beside the bundle.

- `weights.pt`: the model's tensors
- `training.json`: what they were trained on; written last
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


class TrainingRecord(BaseModel):
    """What weights were trained on.

    Attributes:
        version: version of the bundle.
        settings: settings of the training.
        shape: shape of the model.
        item_ids: items of the id embedding, in order.
        text_encoder: fingerprint of the text encoder.
        newest_ms: time of the latest event, Unix milliseconds; None if times were not real.
        data_fingerprint: fingerprint of the events.
        weights_checksum: checksum of the tensors' file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
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
    """A record and its tensors by name."""

    record: TrainingRecord
    tensors: Mapping[str, Tensor]

    def indices(self, item_ids: Sequence[str]) -> Ints:
        """Rows of the id embedding [n]; 0 for items outside the training."""
        rows = {item_id: row for row, item_id in enumerate(self.record.item_ids, start=1)}
        return np.array([rows.get(item_id, 0) for item_id in item_ids], np.int64)

    def model(self, settings: TrainSettings, new_item_ids: Sequence[str] = ()) -> Recommender:
        """The model with these weights.

        Args:
            settings: has the dropouts.
            new_item_ids: items after the record's own. Their embeddings are zero; see `ItemTower.init_new_embeddings`.
        """
        shape = self.record.shape
        grown = Shape(**{**asdict(shape), "items": shape.items + len(new_item_ids)})
        model = Recommender(grown, settings.dropout, settings.id_dropout, settings.media_dropout)
        ids = self.tensors["item.ids.weight"]
        new = torch.zeros(len(new_item_ids), shape.width)
        model.load_state_dict({**self.tensors, "item.ids.weight": torch.cat([ids, new])})
        return model


def weights_folder(bundle: Path) -> Path:
    """The folder of a bundle's training weights."""
    return bundle.with_name(f"{bundle.name}.training")


def save_weights(folder: Path, weights: TrainingWeights) -> None:
    """Writes the folder, completely or not at all. It replaces what was there."""
    partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        partial.mkdir(parents=True)
        with (partial / _WEIGHTS).open("wb") as file:
            torch.save(dict(weights.tensors), file)
            file.flush()
            os.fsync(file.fileno())
        record = weights.record.model_copy(update={"weights_checksum": checksum(partial / _WEIGHTS)})
        (partial / _RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
        replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_weights(folder: Path) -> TrainingWeights:
    """Reads the folder.

    Raises:
        WeightsMissing: it is missing, incomplete, or of another format.
    """
    try:
        record = TrainingRecord.model_validate_json((folder / _RECORD).read_bytes())
        if checksum(folder / _WEIGHTS) != record.weights_checksum:
            raise WeightsMissing(f"{folder / _WEIGHTS} was changed or is incomplete")
        tensors: dict[str, Any] = torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsMissing(
            f"{error.filename} is missing: `recstream train` writes it beside the bundle. Serving does not need it, so "
            "it may not have been copied along"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise WeightsMissing(f"{folder / _RECORD}: {field}: {first['msg']}") from error
    return TrainingWeights(record, tensors)
