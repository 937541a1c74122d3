"""Items known by labels alone: categories or attribute ids, which are names and not language.

A sentence encoder would read `17, 4, 230` as digits. Here each label is a word of a vocabulary, an item's vector says
which of them it has, and the item head behind it learns what each of them means: its matrix is a table of embeddings.
The vocabulary travels as the bundle's tokenizer, and the graph takes token ids as any text encoder's does; so a new
item with known labels gets a vector, and serving knows of no difference.
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
from models.errors import EncoderNotFound

LABELS: Final = "labels"
"""The name in the settings."""
MOST_LABELS: Final = 4096
LIMIT: Final = 256

_UNKNOWN: Final = "[UNK]"
# As `catalog.items.text.item_text` joins them.
_BETWEEN: Final = r", |\. "


class LabelEncoder(nn.Module):
    """Token ids and mask [b, t] to vectors [b, width]: for each label of the vocabulary a place, which is zero where
    the item does not have it; of length one, or zero for an item without known labels. Labels of fewer than two items
    say nothing about another item and are left out; of more than `MOST_LABELS` the most frequent stay.
    """

    limit = LIMIT
    causal = False

    def __init__(self, items: Sequence[ItemText], words: Sequence[str] | None = None) -> None:
        """words: the vocabulary of a model that is gone on with, whatever the items' labels are. Raises EncoderNotFound
        where no two of the items have a label in common."""
        super().__init__()
        self._texts = {item.item_id: item.text for item in items}
        self.words = self._common() if words is None else list(words)
        if not self.words:
            raise EncoderNotFound(
                "no two items have a label in common: the text encoder `labels` has none to know"
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
        known = sorted(counts, key=lambda label: (-counts[label], label))[:MOST_LABELS]
        return [label for label in known if counts[label] > 1 and label != _UNKNOWN]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        there = functional.one_hot(input_ids * attention_mask, self.vocabulary).sum(1)[:, 1:]
        found = there.clamp(max=1).to(torch.float32)
        out: Tensor = found / found.sum(1, keepdim=True).clamp(min=1.0).sqrt()
        return out

    def tokenizer(self, tokens: int) -> Tokenizer:
        """A token for each label, 0 for one that is not known; cut to `tokens`, without padding."""
        words = {_UNKNOWN: 0} | {label: place for place, label in enumerate(self.words, start=1)}
        found = Tokenizer(WordLevel(words, unk_token=_UNKNOWN))
        found.pre_tokenizer = _split()
        found.enable_truncation(tokens)
        return found

    def of(self, item_ids: Sequence[str]) -> Tensor:
        """The vectors [n, width] of the items of these ids, sparse: few of thousands of places are not zero. One that
        is not among the items has no label."""
        rows, columns, lengths = [], [], []
        texts = [self._texts.get(item_id, "") for item_id in item_ids]
        for row, encoding in enumerate(self.tokenizer(LIMIT).encode_batch(texts)):
            labels = sorted({token - 1 for token in encoding.ids if token})
            rows += [row] * len(labels)
            columns += labels
            lengths += [max(1, len(labels)) ** -0.5] * len(labels)
        places = torch.tensor([rows, columns], dtype=torch.long)
        shape = len(texts), self.width
        return torch.sparse_coo_tensor(places, torch.tensor(lengths), shape, check_invariants=True).coalesce()

    def fingerprint(self) -> str:
        """Changes with the vocabulary."""
        return f"{LABELS}/{hashlib.blake2b(chr(0).join(self.words).encode(), digest_size=16).hexdigest()}"


def words_of(tokenizer: Tokenizer) -> list[str]:
    """The labels of a tokenizer that an encoder gave."""
    places = tokenizer.get_vocab()
    return [word for word in sorted(places, key=lambda word: places[word]) if places[word]]


def _split() -> Split:
    return Split(Regex(_BETWEEN), "removed")
