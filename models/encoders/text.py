"""The text encoder: a pretrained Hugging Face transformer, encoder or decoder, with pooled and normalised outputs."""

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from inference.bundle.bundle import checksum
from models.encoders.packaged import TextSource, text_source
from models.encoders.settings import Pooling
from models.errors import EncoderNotFound

_WEIGHTS: Final = ("*.safetensors", "*.bin", "*.gguf")


class TextEncoder(nn.Module):
    """A frozen transformer with its pooling: token ids and mask [b, t] to vectors [b, width].

    A text without tokens gets the zero vector.

    Attributes:
        width: width of the vectors.
        vocabulary: number of token ids.
        limit: the longest input, in tokens.
        causal: whether it is a decoder. An input tells: the first token of a decoder does not see the second.
        pooling: how token vectors become one.
    """

    def __init__(self, model: str | Path, pooling: Pooling = "auto") -> None:
        super().__init__()
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self.source = text_source(str(model))
        self.transformer: Any = _load(self.source)
        config = self.transformer.config
        self.width: int = config.hidden_size
        self.vocabulary: int = config.vocab_size
        self.limit: int = _limit(self.transformer)
        self.causal = _is_causal(self.transformer, self.vocabulary)
        self.pooling = _pooling(self.source.folder) if pooling == "auto" else pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self._hidden(input_ids, attention_mask)
        mask = attention_mask.to(hidden.dtype)
        if self.pooling == "mean":
            weights = mask
        else:
            position = mask.cumsum(1)
            pooled_at = torch.ones_like(position[:, -1:]) if self.pooling == "cls" else position[:, -1:]
            weights = mask * (position == pooled_at)
        # A weighted sum, because an index would become a constant of the exported graph.
        pooled = (hidden * weights.unsqueeze(-1)).sum(1) / weights.sum(1, keepdim=True).clamp(min=1.0)
        out: Tensor = pooled / pooled.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return out

    def tokenizer(self, tokens: int) -> Tokenizer:
        """The model's own tokenizer. It truncates to `tokens` and does not pad."""
        if self.source.gguf is None:
            found = Tokenizer.from_file(str(self.source.folder / "tokenizer.json"))
        else:
            from transformers import AutoTokenizer

            found = AutoTokenizer.from_pretrained(
                str(self.source.folder), gguf_file=self.source.gguf, local_files_only=True
            ).backend_tokenizer
        found.no_padding()
        found.enable_truncation(tokens)
        return found

    def fingerprint(self) -> str:
        """Changes with weights, tokenizer and pooling."""
        folder = self.source.folder
        files = [folder / self.source.gguf] if self.source.gguf else _files(folder)
        return "/".join(["text", self.pooling, *map(checksum, files)])

    def _hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        if not self.causal:
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            hidden: Tensor = self.transformer(**given).last_hidden_state
            return hidden
        # The full mask, because transformers expands a flat one in a way that cannot be traced with a dynamic length.
        position = torch.ones_like(attention_mask).cumsum(1)
        seen = (position[:, None, :] <= position[:, :, None]) & (attention_mask[:, None, :] > 0)
        # Padding sees itself, so that no row is empty.
        seen = seen | (position[:, None, :] == position[:, :, None])
        least = torch.finfo(torch.float32).min
        hidden = self.transformer(
            input_ids=input_ids,
            attention_mask=torch.where(seen, 0.0, least)[:, None],
            position_ids=(attention_mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return hidden


def _load(source: TextSource) -> Any:
    # Imported here, because it takes seconds and reads HF_HUB_OFFLINE.
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {"local_files_only": True}
    if source.gguf:
        options["gguf_file"] = source.gguf
    try:
        config = AutoConfig.from_pretrained(str(source.folder), **options)
        if config.is_encoder_decoder:
            raise EncoderNotFound(
                f"{source.folder} holds an encoder-decoder model; expected an encoder or a decoder"
            )
        # The progress bar over a .gguf file's tensors cannot be disabled, and would break our own.
        with contextlib.redirect_stderr(io.StringIO()) if source.gguf else contextlib.nullcontext():
            # Plain attention, because fused attention cannot be exported with a dynamic length.
            model = AutoModel.from_pretrained(
                str(source.folder), attn_implementation="eager", dtype=torch.float32, **options
            )
    except ImportError as error:
        raise EncoderNotFound(f"{source.folder} needs a package that is not installed: {error}") from error
    return model.requires_grad_(False).eval()


def _files(folder: Path) -> list[Path]:
    return [*sorted(path for kind in _WEIGHTS for path in folder.glob(kind)), folder / "tokenizer.json"]


def _limit(transformer: Any) -> int:
    """Number of positions, without those that RoBERTa and similar models reserve for padding."""
    embeddings = getattr(getattr(transformer, "embeddings", None), "position_embeddings", None)
    reserved = getattr(embeddings, "padding_idx", None)
    most = int(getattr(transformer.config, "max_position_embeddings", 512))
    return most - (reserved + 1 if reserved is not None else 0)


def _is_causal(transformer: Any, vocabulary: int) -> bool:
    pair = torch.tensor([[1, 2], [1, 3]]).clamp(max=vocabulary - 1)
    with torch.inference_mode():
        hidden = transformer(input_ids=pair, attention_mask=torch.ones_like(pair)).last_hidden_state
    return bool(torch.allclose(hidden[0, 0], hidden[1, 0], atol=1e-6))


def _pooling(folder: Path) -> Pooling:
    """The pooling that a sentence encoder's folder names, else the mean."""
    try:
        said = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "mean"
    if said.get("pooling_mode_cls_token"):
        return "cls"
    return "last" if said.get("pooling_mode_lasttoken") else "mean"
