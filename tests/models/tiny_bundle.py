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


class TinyImages:
    """A random image encoder: a convolution over squares of eight pixels."""

    def __init__(self, width: int = 6) -> None:
        import torch
        from torch import nn

        from inference.bundle.modalities import Modality

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, width, 3, stride=2)

            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                return torch.tanh(self.conv(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)).mean((2, 3))

        self.modality = Modality(name="image", shape=(8, 8, 3))
        self.width = width
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.module = Network().requires_grad_(False).eval()
        self.fingerprint = f"tiny/{width}"

    def prepare(self, content: bytes):  # type: ignore[no-untyped-def]
        return self.modality.prepare(content)


def image_file(color: str, size: tuple[int, int] = (32, 24), kind: str = "PNG") -> bytes:
    """An image of one color."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, kind)
    return out.getvalue()


def build(
    folder: Path,
    items: Sequence[str] = DEFAULT_ITEMS,
    width: int = 16,
    *,
    channels: int | None = None,
    hidden: int = 32,
    version: int = 1,
    seed: int = 0,
    history: int = 64,
    refold_every: int = 32,
    images: bool = False,
    high_ratings: bool | None = None,
) -> Path:
    """Writes the bundle to `folder` and returns the folder. Similar item texts have similar vectors.

    With `images` the bundle has them as a modality. Otherwise it is the same model without them. `high_ratings` puts
    every predicted rating near the upper (True) or lower (False) end of the scale, which shows what bundle ranked an
    item.
    """
    import torch

    from models.encoders.load import Encoders
    from models.encoders.text import TextEncoder
    from models.export.bundle_writer import write_bundle
    from models.network.item_tower import ItemTower
    from models.network.recommender import Recommender, Shape
    from models.training.bundle_metadata import bundle_metadata
    from models.training.settings import TrainSettings

    channels = channels or 2 * width
    source = text_model(folder.with_name(f"{folder.name}-text"))
    torch.manual_seed(seed)
    settings = TrainSettings(
        version=version,
        seed=seed,
        width=width,
        channels=channels,
        hidden=hidden,
        history=history,
        refold_every=refold_every,
    )
    actions = len(settings.actions)
    text = TextEncoder(source)
    encoders = Encoders(text, text.tokenizer(64), 64, (TinyImages(),) if images else ())
    shape = Shape(
        text_width=text.width,
        width=width,
        channels=channels,
        hidden=hidden,
        items=len(items),
        actions=actions,
        value_mean=(3.0,) * actions,
        value_scale=(1.0,) * actions,
        value_range=(0.5, 5.0),
        popularities=len(settings.popularity_half_lives_days),
    )
    model = Recommender(shape, dropout=0.0, id_dropout=0.0)
    with torch.no_grad():
        # As if trained: no head is left at zero.
        for parameter in model.ranker.last.parameters():
            parameter.normal_(std=0.3)
        if high_ratings is not None:
            model.ranker.last.weight[-1] = 0
            model.ranker.last.bias[-1] = 2.0 if high_ratings else -2.0
    if images:
        of_text = model.item.state_dict()
        model.item = ItemTower(text.width, width, len(items), 0.0, 0.0, encoders.media_widths)
        model.item.load_state_dict(of_text, strict=False)
    metadata = bundle_metadata(settings, version=version, metrics={}, data_fingerprint="tiny")
    write_bundle(folder, model, encoders, items, metadata)
    return folder
