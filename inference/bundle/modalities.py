"""Modalities: contents that an item may have besides its text, such as images.

Preparation converts a content to the array that the graph takes, such as an image file to RGB bytes. The catalogue
worker and training share it. All arithmetic on the numbers is inside the graph.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from inference.bundle import images

Prepared = NDArray[np.uint8 | np.float32]
Prepare = Callable[[bytes, tuple[int, ...]], Prepared]

MODALITY_SUFFIX: Final = "_encoder"

PREPARATIONS: Final[Mapping[str, Prepare]] = {"image": images.prepare}
"""Functions that convert a content to an array of a given shape, by name. Each raises MediaUnreadable."""


class Modality(BaseModel):
    """One modality of a bundle. If an item has several contents, the mean of their vectors is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="The modality's name in items: `image`")
    preparation: str = Field("image", description="Name of the function that prepares a content")
    kind: Literal["UINT8", "FP32"] = Field("UINT8", description="Type of the prepared numbers")
    shape: tuple[int, ...] = Field((224, 224, 3), min_length=1, description="Shape of a prepared content")

    @property
    def graph_name(self) -> str:
        """The name of the graph that adds this modality."""
        return f"{self.name}{MODALITY_SUFFIX}"

    def prepare(self, content: bytes) -> Prepared:
        """Converts a content to the graph's input, [*shape]. Raises MediaUnreadable."""
        return PREPARATIONS[self.preparation](content, self.shape)
