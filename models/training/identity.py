"""The identity of a training: everything that its result depends on, by name.

Two trainings with the same identity make the same model on one machine. Only a training with the identity of a
checkpoint resumes it. Source code is not part of it, so that an edited comment does not refuse an interrupted training.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from models.data.events import ItemText
from models.data.training_data import TrainingData
from models.encoders.load import Encoders
from models.encoders.vector_cache import content_key
from models.training.distributed import process_group
from models.training.settings import TrainSettings

TRAINING_FORMAT: Final = 1
"""Increase it by one with every change after which equal data and settings give other weights: a layer, an initial
value, a loss, the order of random draws, what a stage reads. Trainings that were interrupted before the change are then
refused, and evaluations train again. Refactorings, messages and comments do not change it."""

_IRRELEVANT: Final = frozenset({"threads", "cache", "worker_timeout_seconds", "version", "continuation"})
"""Settings that only change how fast a model is trained, its name, or how it is continued later. Another number of
threads changes sums in the last bit, which is accepted."""


def training_identity(
    data: TrainingData, items: Sequence[ItemText], encoders: Encoders, settings: TrainSettings
) -> dict[str, str]:
    """A value or a digest for everything that the result depends on.

    Args:
        data: the training data.
        items: texts, media and dates of items.
        encoders: the frozen encoders.
        settings: settings of the training.
    """
    relevant = settings.model_dump(
        mode="json",
        exclude={
            **dict.fromkeys(_IRRELEVANT, True),
            "streaming": {"folder"},
            # Encoders are identified by their weights, not by their paths.
            "encoders": {"text_model", "image_model"},
        },
    )
    modalities = {encoder.modality.name for encoder in encoders.media}
    return {
        "events": data.fingerprint(),
        "items": _digest(items, modalities),
        "text encoder": encoders.text.fingerprint(),
        **{f"{each.modality.name} encoder": each.fingerprint for each in encoders.media},
        "training format": str(TRAINING_FORMAT),
        "torch": importlib.metadata.version("torch"),
        "processes": str(process_group.world_size()),
        **{f"setting train.{name}": value for name, value in _flat(relevant)},
    }


def _digest(items: Sequence[ItemText], modalities: Collection[str]) -> str:
    """A digest of the items' texts, dates, and contents of the modalities that the model reads."""
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        media = [
            [each.modality, content_key(each.read()).hex()]
            for each in item.media
            if each.modality in modalities
        ]
        digest.update(json.dumps([item.item_id, item.text, item.published_ms, media]).encode())
    return digest.hexdigest()


def _flat(settings: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value)
