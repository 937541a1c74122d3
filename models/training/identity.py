"""What a training comes of, by name: two of equal identity make the same model on one machine."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from typing import Final

from evaluation.result_cache import training_code
from models.data.events import ItemText
from models.data.training_data import Learned
from models.encoders.load import Encoders
from models.training.distributed import process_group as workers
from models.training.settings import TrainSettings

_NO_MATTER: Final = frozenset({"threads", "cache", "worker_timeout_seconds", "version", "fresh"})
"""Settings that change how fast a model is made, what it is called and how it goes on later. With other threads sums
differ in the last bit."""


def identity_of(
    learned: Learned, items: Sequence[ItemText], encoders: Encoders, settings: TrainSettings
) -> dict[str, str]:
    """A word or a digest for each thing."""
    chosen = settings.model_dump(
        mode="json", exclude={**dict.fromkeys(_NO_MATTER, True), "streaming": {"folder"}}
    )
    return {
        "events": learned.fingerprint(),
        "items": _digest(items),
        "text encoder": encoders.text.fingerprint(),
        "code": training_code(),
        "torch": importlib.metadata.version("torch"),
        "processes": str(workers.count()),
        **{f"setting train.{name}": value for name, value in _flat(chosen)},
    }


def _digest(items: Sequence[ItemText]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        media = [
            [m.modality, m.content.hex() if isinstance(m.content, bytes) else str(m.content)]
            for m in item.media
        ]
        digest.update(json.dumps([item.item_id, item.text, item.published_ms, media]).encode())
    return digest.hexdigest()


def _flat(settings: dict[str, object], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", json.dumps(value)
