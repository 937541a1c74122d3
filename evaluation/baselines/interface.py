"""Protocols that say what a baseline takes and what it does."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.events import Events, Floats, Ints

Value = float | int | str | None
Parameters = Mapping[str, Value]


class Queries(Protocol):
    """b queries, each for one list.

    Attributes:
        users: Indices of users, int64 [b].
        before: For each query, its user's history: rows of the known events, oldest first.
        time_ms: Unix milliseconds, int64 [b].
        visible: Only known events below this row may be counted, int64 [b].
    """

    @property
    def users(self) -> Ints: ...
    @property
    def before(self) -> Sequence[Ints]: ...
    @property
    def time_ms(self) -> Ints: ...
    @property
    def visible(self) -> Ints: ...


class Training(Protocol):
    """The training part of a protocol.

    Attributes:
        name: Name of the protocol.
        known: All its events.
        training: Which of them may be trained on, bool [rows].
    """

    @property
    def name(self) -> str: ...
    @property
    def known(self) -> Events: ...
    @property
    def training(self) -> NDArray[np.bool_]: ...


class Method(Protocol):
    """Anything that makes lists. Its scores are [b, items]: higher is better, and -inf is never listed."""

    @property
    def name(self) -> str: ...
    def scores(self, queries: Queries) -> Floats: ...
