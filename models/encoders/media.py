"""Encoders of modalities besides text: their protocol, and the image encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from inference.bundle.bundle import checksum
from inference.bundle.modalities import Modality, Prepared
from models.encoders.efficientnet import SIDE, WIDTH, EfficientNetLite0
from models.encoders.packaged import image_weights
from models.errors import EncoderNotFound


class MediaEncoder(Protocol):
    """A frozen encoder of one modality.

    Attributes:
        modality: its entry in the bundle's manifest: name, shape and preparation. The preparation is one of
            `inference.bundle.modalities.PREPARATIONS`, because serving prepares contents too.
        width: width of its vectors.
        module: maps prepared contents [n, *shape] to vectors [n, width]. It can be exported to ONNX.
        fingerprint: changes with the weights.
    """

    @property
    def modality(self) -> Modality: ...
    @property
    def width(self) -> int: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def fingerprint(self) -> str: ...
    def prepare(self, content: bytes) -> Prepared:
        """The content as the module takes it.

        Raises:
            MediaUnreadable: the content cannot be decoded.
        """


class ImageEncoder:
    """EfficientNet-Lite0 with published weights; see `MediaEncoder`."""

    def __init__(self, model: str | Path, side: int = SIDE) -> None:
        weights = image_weights(str(model))
        self.modality = Modality(name="image", shape=(side, side, 3))
        self.width = WIDTH
        network = EfficientNetLite0()
        try:
            network.load_published(torch.load(weights, map_location="cpu", weights_only=True))
        except (RuntimeError, KeyError, IndexError, AttributeError) as error:
            raise EncoderNotFound(f"{weights} holds no weights of EfficientNet-Lite0: {error}") from error
        self.module: nn.Module = network.requires_grad_(False).eval()
        self.fingerprint = f"efficientnet-lite0/{side}/{checksum(weights)}"

    def prepare(self, content: bytes) -> Prepared:
        """A square of RGB bytes.

        Raises:
            MediaUnreadable: the content cannot be decoded.
        """
        return self.modality.prepare(content)


def mean_direction(vectors: Tensor) -> Tensor:
    """The normalised mean [.., w] of the vectors [.., n, w] of an item's n contents."""
    mean = vectors.mean(-2)
    out: Tensor = mean / mean.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    return out


def media_encoders(image_model: str | None) -> tuple[MediaEncoder, ...]:
    """The configured encoders, in the order in which the item tower adds them.

    Raises:
        EncoderNotFound: the weights are missing or of another network.
    """
    found: Sequence[MediaEncoder] = [ImageEncoder(image_model)] if image_model else []
    return tuple(found)
