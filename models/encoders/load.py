"""Loads the encoders of a model, and encodes catalogues with them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
import torch
from rich.progress import Progress
from tokenizers import Tokenizer
from torch import Tensor, nn

from inference.errors import MediaUnreadable
from models.data.events import Floats, ItemText
from models.encoders.labels import LabelEncoder, label_vocabulary
from models.encoders.media import MediaEncoder, mean_direction, media_encoders
from models.encoders.settings import LABELS, EncoderSettings
from models.encoders.text import TextEncoder
from models.encoders.vector_cache import VectorCache, content_key

log = structlog.get_logger()

_TEXT_BATCH = 64
_MEDIA_BATCH = 16
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class ItemInputs:
    """Inputs of the item tower for n items, on the CPU.

    Attributes:
        text: text vectors [n, w]; sparse if they are of labels.
        media: vectors [n, w] by modality; a row of zeros for an item without it.
        unreadable: how many contents could not be decoded.
    """

    text: Tensor
    media: dict[str, Tensor] = field(default_factory=dict)
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Encoders:
    """A text encoder, its tokenizer, which truncates to `tokens`, and encoders of other modalities."""

    text: TextEncoder | LabelEncoder
    tokenizer: Tokenizer
    tokens: int
    media: tuple[MediaEncoder, ...] = ()

    @property
    def media_widths(self) -> dict[str, int]:
        """Width of each modality's vectors, in order."""
        return {encoder.modality.name: encoder.width for encoder in self.media}

    def vectors(
        self,
        item_ids: Sequence[str],
        items: Sequence[ItemText],
        cache: Path | None,
        progress: Progress,
        device: torch.device = _CPU,
    ) -> ItemInputs:
        """Encodes items.

        Args:
            item_ids: which items, in order.
            items: their contents; an id that is missing here has no text.
            cache: folder of vectors that were computed before. New ones are added batch by batch, so an interruption
                costs seconds. None: no cache.
            progress: shows a task for each modality.
            device: where the encoders compute. They are moved back to the CPU.

        Raises:
            OSError: a file of a content cannot be read.
        """
        known = {item.item_id: item for item in items}
        wanted = [known.get(item_id, ItemText(item_id, "")) for item_id in item_ids]
        task = progress.add_task("Item texts", total=len(wanted))
        if isinstance(self.text, LabelEncoder):
            text = self.text.vectors(item_ids)
            progress.advance(task, len(wanted))
        else:
            with _on_device(self.text, device):
                texts = [item.text for item in wanted]
                text = torch.from_numpy(
                    self._text_vectors(texts, cache, lambda done: progress.advance(task, done))
                )
        media, unreadable = {}, 0
        for encoder in self.media:
            with _on_device(encoder.module, device):
                vectors, failed = _media_vectors(encoder, wanted, cache, progress, device)
            media[encoder.modality.name] = torch.from_numpy(vectors)
            unreadable += failed
        return ItemInputs(text, media, unreadable)

    def _text_vectors(
        self, texts: Sequence[str], cache: Path | None, advance: Callable[[int], None]
    ) -> Floats:
        identity = f"{self.text.fingerprint()}/{self.tokens}"
        vectors = VectorCache(cache, "text", identity, self.text.width)
        keys = [content_key(text.encode("utf-8", "surrogatepass")) for text in texts]
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
        advance(len(texts) - len(wanted))
        # Batches by length have less padding and take less time.
        missing = sorted(wanted, key=lambda key: len(wanted[key]))
        for start in range(0, len(missing), _TEXT_BATCH):
            batch = missing[start : start + _TEXT_BATCH]
            vectors.add(batch, self.encode([wanted[key] for key in batch]))
            advance(len(batch))
        return _rows(vectors, keys, self.text.width)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Text vectors [b, w] of a batch of texts."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = max((len(row) for row in rows), default=1) or 1
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        device = next(self.text.parameters()).device
        with torch.inference_mode():
            found: Floats = self.text(ids.to(device), mask.to(device)).cpu().numpy()
        return found


def load_encoders(
    settings: EncoderSettings, items: Sequence[ItemText] = (), continued_tokenizer: Tokenizer | None = None
) -> Encoders:
    """Loads the encoders that the settings name.

    Args:
        settings: settings of the encoders.
        items: their labels are the vocabulary of the encoder `labels`.
        continued_tokenizer: tokenizer of a model whose training continues. The encoder `labels` takes its vocabulary.

    Raises:
        EncoderNotFound: an encoder is missing or cannot be used.
    """
    text: TextEncoder | LabelEncoder
    if settings.text_model == LABELS:
        words = None if continued_tokenizer is None else label_vocabulary(continued_tokenizer)
        text = LabelEncoder(items, words)
    else:
        text = TextEncoder(settings.text_model, settings.pooling)
    tokens = text.limit if isinstance(text, LabelEncoder) else min(settings.text_tokens, text.limit)
    return Encoders(text, text.tokenizer(tokens), tokens, media_encoders(settings.image_model))


def _media_vectors(
    encoder: MediaEncoder,
    items: Sequence[ItemText],
    cache: Path | None,
    progress: Progress,
    device: torch.device,
) -> tuple[Floats, int]:
    """Vectors [n, w] of the items' contents of this modality, and how many contents were unreadable."""
    name = encoder.modality.name
    cached = VectorCache(cache, name, encoder.fingerprint, encoder.width)
    task = progress.add_task(
        f"Item contents: {name}", total=sum(m.modality == name for i in items for m in i.media)
    )
    keys: list[list[bytes]] = []
    waiting: dict[bytes, np.ndarray] = {}
    unreadable: set[bytes] = set()
    failed = 0
    for item in items:
        keys.append([])
        for media in item.media:
            if media.modality != name:
                continue
            content = media.read()
            key = content_key(content)
            if key not in cached and key not in waiting and key not in unreadable:
                try:
                    waiting[key] = encoder.prepare(content)
                except MediaUnreadable as error:
                    log.warning("media_unreadable", item_id=item.item_id, modality=name, cause=str(error))
                    unreadable.add(key)
            failed += key in unreadable
            if key not in unreadable:
                keys[-1].append(key)
            if len(waiting) == _MEDIA_BATCH:
                _encode(encoder, cached, waiting, device)
            progress.advance(task)
    _encode(encoder, cached, waiting, device)
    vectors = np.zeros((len(items), encoder.width), np.float32)
    for row, item_keys in enumerate(keys):
        if item_keys:
            stacked = torch.from_numpy(np.stack([cached[key] for key in item_keys]))
            vectors[row] = mean_direction(stacked).numpy()
    return vectors, failed


def _encode(
    encoder: MediaEncoder, cached: VectorCache, waiting: dict[bytes, np.ndarray], device: torch.device
) -> None:
    if waiting:
        prepared = torch.from_numpy(np.stack(list(waiting.values())))
        with torch.inference_mode():
            cached.add(list(waiting), encoder.module(prepared.to(device)).cpu().numpy())
        waiting.clear()


@contextmanager
def _on_device(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Moves the module to the device for the block, and back to the CPU."""
    module.to(device)
    try:
        yield
    finally:
        module.to(_CPU)


def _rows(vectors: VectorCache, keys: Sequence[bytes], width: int) -> Floats:
    found = np.empty((len(keys), width), np.float32)
    for row, key in enumerate(keys):
        found[row] = vectors[key]
    return found
