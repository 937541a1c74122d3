"""A finished list."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstream.v1 import slate_pb2


@dataclass(frozen=True, slots=True)
class Ranked:
    """A list, with what streams and paging sessions need to know about it.

    Attributes:
        slate: The list as a message.
        rows: The catalogue rows of the slate's items, in order, int64 [len(slate.items)].
        remaining: Number of items that could follow these. 0: the paging session has ended.
        until_ms: The moment at which other rules hold, Unix milliseconds. None: the same rules hold for ever.
    """

    slate: slate_pb2.Slate
    rows: NDArray[np.int64]
    remaining: int
    until_ms: int | None = None
