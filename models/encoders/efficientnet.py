"""EfficientNet-Lite0, the mobile variant of EfficientNet (Tan and Le 2019, arXiv:1905.11946).

Lite has no squeeze-and-excitation, and ReLU6 instead of swish. The published weights come from TensorFlow: its "SAME"
padding puts the odd pixel at the right and below, and its batch normalisation has an epsilon of 1e-3.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH: Final = 1280
SIDE: Final = 224
# Expansion, kernel, stride of the first, channels, repeats.
_STAGES: Final = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM: Final = 32


class EfficientNetLite0(nn.Module):
    """RGB bytes uint8 [n, side, side, 3] to features [n, 1280]. side: any multiple of 32; it was trained at 224."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, _STEM, 3, 2)
        blocks: list[_Block] = []
        channels = _STEM
        for expansion, kernel, stride, out, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(channels, out, expansion, kernel, stride if repeat == 0 else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = _Convolution(channels, WIDTH, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        scaled = (pixels.permute(0, 3, 1, 2).to(torch.float32) - 127.0) / 128.0
        out: Tensor = self.head(self.blocks(self.stem(scaled))).mean((2, 3))
        return out

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Loads weights under the names of the PyTorch ports (`_conv_stem.weight`, `_blocks.0._bn1.bias`), without the
        classifier.

        Raises:
            RuntimeError: they are of another network.
        """
        renamed = {}
        for name, value in weights.items():
            *block, layer, parameter = name.split(".")
            if layer != "_fc":
                prefix = f"blocks.{block[1]}." if block else ""
                renamed[f"{prefix}{(_OF_BLOCK if block else _OUTER)[layer]}.{parameter}"] = value
        self.load_state_dict(renamed)


class _Convolution(nn.Module):
    """Convolution with TensorFlow's padding, batch normalisation and, unless `linear`, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        # TensorFlow pads even sides by kernel - stride in all. An odd pixel goes to the right and below.
        total = max(kernel - stride, 0)
        self.padding = (total // 2, total - total // 2) * 2
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(functional.pad(x, self.padding) if any(self.padding) else x))
        return x if self.linear else functional.relu6(x)


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project; with a skip connection where shapes are equal."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _Convolution(inputs, inner, 1, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = _Convolution(inner, outputs, 1, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


_OUTER: Final = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
}
_OF_BLOCK: Final = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
