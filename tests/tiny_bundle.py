"""A bundle with the right shapes and arbitrary numbers, made in seconds: a random two-layer text encoder and
an untrained recommender."""

from collections.abc import Sequence
from pathlib import Path

DEFAULT_ITEMS = tuple(f"item-{i}" for i in range(50))
WORDS = ("red", "blue", "shoe", "film", "song", "game", "a", "the", "of", "item")


def text_model(folder: Path, width: int = 32) -> Path:
    """A random BERT of two layers with a word-piece tokenizer over letters, as a Hugging Face folder."""
    import string

    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    pieces += [p for c in letters for p in (c, f"##{c}") if p not in pieces]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(str(folder))
    return folder


def build(
    folder: Path,
    items: Sequence[str] = DEFAULT_ITEMS,
    width: int = 16,
    *,
    version: int = 1,
    seed: int = 0,
    history: int = 64,
    refold_every: int = 32,
) -> Path:
    """Writes the bundle to `folder` and returns it. Item text that is alike gives vectors that are alike."""
    import torch

    from models.bundling import write_bundle
    from models.recommender import Recommender, Shape
    from models.settings import TrainSettings
    from models.text import TextEncoder

    source = text_model(folder.with_name(f"{folder.name}-text"))
    torch.manual_seed(seed)
    settings = TrainSettings(
        version=version,
        seed=seed,
        width=width,
        channels=2 * width,
        hidden=32,
        history=history,
        refold_every=refold_every,
    )
    actions = len(settings.actions)
    text = TextEncoder(source)
    shape = Shape(
        text.width, width, 2 * width, 32, len(items), actions, (3.0,) * actions, (1.0,) * actions, (0.5, 5.0)
    )
    model = Recommender(shape, dropout=0.0, id_dropout=0.0)
    with torch.no_grad():
        # As if trained: no head is left at zero.
        for parameter in model.ranker.last.parameters():
            parameter.normal_(std=0.3)
    write_bundle(
        folder, model, text, source / "tokenizer.json", items, settings, metrics={}, fingerprint="tiny"
    )
    return folder
