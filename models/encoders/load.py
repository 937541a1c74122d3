"""The encoders of a model, and what they make of a catalogue."""

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
from models.encoders.labels import LABELS, LabelEncoder, words_of
from models.encoders.media import MediaEncoder, joined, media_encoders
from models.encoders.settings import EncoderSettings
from models.encoders.text import TextEncoder
from models.encoders.vector_cache import VectorCache, content_key

log = structlog.get_logger()

_TEXTS = 64
_CONTENTS = 16
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class ItemInputs:
    """n items as the item head takes them: text vectors [n, w], sparse where they are of labels, and by modality
    vectors [n, w], zeros where an item has none. `unreadable`: contents that could not be used."""

    text: Tensor
    media: dict[str, Tensor] = field(default_factory=dict)
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Encoders:
    """A text encoder, its tokenizer cut to `tokens`, and encoders of other modalities."""

    text: TextEncoder | LabelEncoder
    tokenizer: Tokenizer
    tokens: int
    media: tuple[MediaEncoder, ...] = ()

    @property
    def media_widths(self) -> dict[str, int]:
        """Width by modality, in order."""
        return {encoder.modality.name: encoder.width for encoder in self.media}

    def vectors(
        self,
        item_ids: Sequence[str],
        items: Sequence[ItemText],
        cache: Path | None,
        show: Progress,
        device: torch.device = _CPU,
    ) -> ItemInputs:
        """Inputs of the item head for the items of these ids, in order; one that `items` lacks has no text. They are
        computed on the device, and lie on the CPU then, as the encoders do.

        What was computed before is taken from the folder `cache`; what is computed is added to it bit by bit, so
        that an interruption costs seconds.
        """
        known = {item.item_id: item for item in items}
        there = [known.get(item_id, ItemText(item_id, "")) for item_id in item_ids]
        task = show.add_task("Item texts", total=len(there))
        if isinstance(self.text, LabelEncoder):
            text = self.text.of(item_ids)
            show.advance(task, len(there))
        else:
            with _moved(self.text, device):
                texts = [item.text for item in there]
                text = torch.from_numpy(self._texts(texts, cache, lambda done: show.advance(task, done)))
        media, unreadable = {}, 0
        for encoder in self.media:
            with _moved(encoder.module, device):
                vectors, failed = _contents(encoder, there, cache, show, device)
            media[encoder.modality.name] = torch.from_numpy(vectors)
            unreadable += failed
        return ItemInputs(text, media, unreadable)

    def _texts(self, texts: Sequence[str], cache: Path | None, advance: Callable[[int], None]) -> Floats:
        identity = f"{self.text.fingerprint()}/{self.tokens}"
        held = VectorCache(cache, "text", identity, self.text.width)
        keys = [content_key(text.encode("utf-8", "surrogatepass")) for text in texts]
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        advance(len(texts) - len(wanted))
        # Of equal length together: little padding, and so little time.
        missing = sorted(wanted, key=lambda key: len(wanted[key]))
        for start in range(0, len(missing), _TEXTS):
            batch = missing[start : start + _TEXTS]
            held.add(batch, self.encode([wanted[key] for key in batch]))
            advance(len(batch))
        return _rows(held, keys, self.text.width)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Text vectors [b, w] of a batch."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        longest = max((len(row) for row in rows), default=1) or 1
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        device = next(self.text.parameters()).device
        with torch.inference_mode():
            found: Floats = self.text(ids.to(device), mask.to(device)).cpu().numpy()
        return found


def load(
    settings: EncoderSettings, items: Sequence[ItemText] = (), gone_on_with: Tokenizer | None = None
) -> Encoders:
    """The encoders that the settings name; `labels` knows those of these items, or those that the tokenizer of a model
    knows which is gone on with. Raises EncoderNotFound."""
    text: TextEncoder | LabelEncoder
    if settings.text_model == LABELS:
        words = None if gone_on_with is None else words_of(gone_on_with)
        text = LabelEncoder(items, words)
    else:
        text = TextEncoder(settings.text_model, settings.pooling)
    tokens = text.limit if isinstance(text, LabelEncoder) else min(settings.text_tokens, text.limit)
    return Encoders(text, text.tokenizer(tokens), tokens, media_encoders(settings.image_model))


def _contents(
    encoder: MediaEncoder,
    items: Sequence[ItemText],
    cache: Path | None,
    show: Progress,
    device: torch.device,
) -> tuple[Floats, int]:
    """Vectors [n, w] of what the items have of this modality, and how many contents were unreadable."""
    name = encoder.modality.name
    held = VectorCache(cache, name, encoder.fingerprint, encoder.width)
    task = show.add_task(
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
            if key not in held and key not in waiting and key not in unreadable:
                try:
                    waiting[key] = encoder.prepare(content)
                except MediaUnreadable as error:
                    log.warning("media_unreadable", item_id=item.item_id, modality=name, cause=str(error))
                    unreadable.add(key)
            failed += key in unreadable
            if key not in unreadable:
                keys[-1].append(key)
            if len(waiting) == _CONTENTS:
                _encode(encoder, held, waiting, device)
            show.advance(task)
    _encode(encoder, held, waiting, device)
    vectors = np.zeros((len(items), encoder.width), np.float32)
    for place, of_item in enumerate(keys):
        if of_item:
            vectors[place] = joined(torch.from_numpy(np.stack([held[key] for key in of_item]))).numpy()
    return vectors, failed


def _encode(
    encoder: MediaEncoder, held: VectorCache, waiting: dict[bytes, np.ndarray], device: torch.device
) -> None:
    if waiting:
        prepared = torch.from_numpy(np.stack(list(waiting.values())))
        with torch.inference_mode():
            held.add(list(waiting), encoder.module(prepared.to(device)).cpu().numpy())
        waiting.clear()


@contextmanager
def _moved(module: nn.Module, device: torch.device) -> Iterator[None]:
    """On the device within the block, and on the CPU after it."""
    module.to(device)
    try:
        yield
    finally:
        module.to(_CPU)


def _rows(held: VectorCache, keys: Sequence[bytes], width: int) -> Floats:
    found = np.empty((len(keys), width), np.float32)
    for place, key in enumerate(keys):
        found[place] = held[key]
    return found
