"""From a user's state to a vector whose inner product with an item's vector is the logit of choosing it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Direction(nn.Module):
    """A linear map of the state: similarity by inner product.

    With a temperature, similarity is the cosine: the vector is brought to the unit sphere and scaled by one over the
    temperature, which is learned from there on; item vectors have length one then.
    """

    def __init__(self, channels: int, width: int, temperature: float | None) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.log_scale = None if temperature is None else nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, state: Tensor) -> Tensor:
        """States [.., S] to vectors [.., d]."""
        raw: Tensor = self.linear(state)
        return raw * self._length(raw)

    def added(self, parts: Tensor) -> Tensor:
        """For states that are sums of parts [b, t, S]: what each adds to the vector [b, t, d]. The sum over t, and a
        constant of the model times the vector's scale, is the vector."""
        raw = functional.linear(parts, self.linear.weight)
        return raw * self._length(raw.sum(1, keepdim=True) + self.linear.bias)

    def _length(self, raw: Tensor) -> Tensor:
        if self.log_scale is None:
            return torch.ones_like(raw[..., :1])
        length: Tensor = self.log_scale.exp() / raw.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        return length
