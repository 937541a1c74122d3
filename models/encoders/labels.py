"""The encoder of items that are described by labels: categories or attribute ids, which are not language.

A sentence encoder would read `17, 4, 230` as digits. Here each label is a word of a vocabulary, and an item's vector is
multi-hot over it. The item tower's head learns what each label means: its matrix is a table of label embeddings. The
vocabulary is the bundle's tokenizer, and the graph takes token ids as with any text encoder. So a new item with known
labels gets a vector, and serving does not differ.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch import Tensor, nn
from torch.nn import functional

from models.data.events import ItemText
from models.encoders.settings import LABELS
from models.errors import EncoderNotFound

MAX_LABELS: Final = 4096
MAX_TOKENS: Final = 256

_UNKNOWN: Final = "[UNK]"
# What `catalog.items.text.item_text` joins labels with.
_SEPARATOR: Final = r", |\. "


class LabelEncoder(nn.Module):
    """Token ids and mask [b, t] to multi-hot vectors [b, width], normalised; zero for an item without known labels.

    A label that fewer than two items have says nothing about another item: it is not in the vocabulary. The vocabulary
    has the `MAX_LABELS` most frequent labels at most.
    """

    limit = MAX_TOKENS
    causal = False

    def __init__(self, items: Sequence[ItemText], words: Sequence[str] | None = None) -> None:
        """
        Args:
            items: whose labels are encoded.
            words: the vocabulary of a model whose training continues; None: the vocabulary of these items.

        Raises:
            EncoderNotFound: no two of the items have a label in common.
        """
        super().__init__()
        self._texts = {item.item_id: item.text for item in items}
        self.words = self._common() if words is None else list(words)
        if not self.words:
            raise EncoderNotFound(
                "no two items have a label in common: the text encoder `labels` has no vocabulary"
            )
        self.width = len(self.words)
        self.vocabulary = self.width + 1

    def _common(self) -> list[str]:
        split = _split()
        counts = Counter(
            label
            for text in self._texts.values()
            for label in {word for word, _ in split.pre_tokenize_str(text)}
        )
        known = sorted(counts, key=lambda label: (-counts[label], label))[:MAX_LABELS]
        return [label for label in known if counts[label] > 1 and label != _UNKNOWN]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        counts = functional.one_hot(input_ids * attention_mask, self.vocabulary).sum(1)[:, 1:]
        found = counts.clamp(max=1).to(torch.float32)
        out: Tensor = found / found.sum(1, keepdim=True).clamp(min=1.0).sqrt()
        return out

    def tokenizer(self, tokens: int) -> Tokenizer:
        """A token for each label, 0 for an unknown one. It truncates to `tokens` and does not pad."""
        words = {_UNKNOWN: 0} | {label: token for token, label in enumerate(self.words, start=1)}
        found = Tokenizer(WordLevel(words, unk_token=_UNKNOWN))
        found.pre_tokenizer = _split()
        found.enable_truncation(tokens)
        return found

    def vectors(self, item_ids: Sequence[str]) -> Tensor:
        """Vectors [n, width] of the items of these ids, as a sparse tensor. An unknown item has no label."""
        rows, columns, lengths = [], [], []
        texts = [self._texts.get(item_id, "") for item_id in item_ids]
        for row, encoding in enumerate(self.tokenizer(MAX_TOKENS).encode_batch(texts)):
            labels = sorted({token - 1 for token in encoding.ids if token})
            rows += [row] * len(labels)
            columns += labels
            lengths += [max(1, len(labels)) ** -0.5] * len(labels)
        indices = torch.tensor([rows, columns], dtype=torch.long)
        shape = len(texts), self.width
        return torch.sparse_coo_tensor(
            indices, torch.tensor(lengths), shape, check_invariants=True
        ).coalesce()

    def fingerprint(self) -> str:
        """Changes with the vocabulary."""
        return f"{LABELS}/{hashlib.blake2b(chr(0).join(self.words).encode(), digest_size=16).hexdigest()}"


def label_vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The labels of a tokenizer that a `LabelEncoder` made, in order."""
    tokens = tokenizer.get_vocab()
    return [word for word in sorted(tokens, key=lambda word: tokens[word]) if tokens[word]]


def _split() -> Split:
    return Split(Regex(_SEPARATOR), "removed")
