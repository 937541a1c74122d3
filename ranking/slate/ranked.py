"""A made list."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstream.v1 import slate_pb2


@dataclass(frozen=True, slots=True)
class Ranked:
    """A list, and what whoever keeps it needs to watch over it.

    rows: the catalogue rows of the slate's items, in order, int64 [len(slate.items)].
    remaining: items that could have followed these; 0 is the end of a paging session.
    """

    slate: slate_pb2.Slate
    rows: NDArray[np.int64]
    remaining: int
