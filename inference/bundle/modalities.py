"""What an item may have beside its text: how each modality is named, shaped and prepared.

Preparing is what happens before a graph: an image file becomes bytes of RGB. It runs in the catalogue worker and
in training alike. All arithmetic on the numbers is inside the graph.
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
"""How a content becomes an array of a given shape, by the name of the way. Each raises MediaUnreadable."""


class Modality(BaseModel):
    """One modality of a bundle. An item may have several contents of it; their vectors' mean counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="As items name it: `image`")
    preparation: str = Field("image", description="How a content is prepared")
    kind: Literal["UINT8", "FP32"] = Field("UINT8", description="The prepared numbers' type")
    shape: tuple[int, ...] = Field((224, 224, 3), min_length=1, description="The prepared content's shape")

    @property
    def graph_name(self) -> str:
        """Its graph in the bundle."""
        return f"{self.name}{MODALITY_SUFFIX}"

    def prepare(self, content: bytes) -> Prepared:
        """The content as its graph takes it. Raises MediaUnreadable."""
        return PREPARATIONS[self.preparation](content, self.shape)
