"""Projects a user's state to a vector whose inner product with an item's vector is a logit."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class UserProjection(nn.Module):
    """A linear map of the state, so that similarity is the inner product.

    With a temperature, similarity is the cosine: the vector is normalised and divided by the temperature, which is
    learned. Item vectors then have length one.
    """

    def __init__(self, channels: int, width: int, temperature: float | None) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        self.log_scale = None if temperature is None else nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, state: Tensor) -> Tensor:
        """States [.., S] to vectors [.., d]."""
        raw: Tensor = self.linear(state)
        return raw * self._scale(raw)

    def contributions(self, parts: Tensor) -> Tensor:
        """What each part of a state adds to the vector. The state is the sum of its parts [b, t, S].

        Returns:
            [b, t, d]. The vector is their sum over t plus the projection's own bias, which is scaled alike.
        """
        raw = functional.linear(parts, self.linear.weight)
        return raw * self._scale(raw.sum(1, keepdim=True) + self.linear.bias)

    def _scale(self, raw: Tensor) -> Tensor:
        if self.log_scale is None:
            return torch.ones_like(raw[..., :1])
        scale: Tensor = self.log_scale.exp() / raw.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        return scale
