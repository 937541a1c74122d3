"""What a baseline is given and what it is, as far as this room needs to know."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

Value = float | int | str | None
Parameters = Mapping[str, Value]


class Queries(Protocol):
    """b lists to be made: for whom, after which of the known events (rows, oldest first), when, and below which
    row of the known events everybody's may be counted."""

    @property
    def users(self) -> Ints: ...
    @property
    def before(self) -> Sequence[Ints]: ...
    @property
    def time_ms(self) -> Ints: ...
    @property
    def visible(self) -> Ints: ...


class Training(Protocol):
    """A protocol by name, all its events, and which of them may be trained on: [rows]."""

    @property
    def name(self) -> str: ...
    @property
    def known(self) -> Events: ...
    @property
    def training(self) -> NDArray[np.bool_]: ...


class Method(Protocol):
    """Something that makes lists: scores [b, items], higher is better, -inf is never listed."""

    @property
    def name(self) -> str: ...
    def scores(self, queries: Queries) -> Floats: ...
