"""The model behind one small protocol, in numpy arrays."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.bundle.modalities import Prepared

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class ModelUnavailable(Exception):
    """The model gave no usable answer in time: unreachable, queue full, deadline passed, or not finite."""


class NotFinite(ModelUnavailable):
    """The model answered, but the numbers of `rows` (places in the batch) are not finite."""

    def __init__(self, message: str, rows: tuple[int, ...]) -> None:
        super().__init__(message)
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenised texts of b items, right-padded: ids and mask are [b, t]; item_index is [b], 0 for an
    item that was not in training."""

    ids: Ints
    mask: Ints
    item_index: Ints


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories of b users, right-padded to T events, oldest first.

    item_vectors [b, T, d]: zeros where the item is unknown.
    actions [b, T]: index into the manifest's actions; 0 for one that the model does not know.
    gap_seconds [b, T]: since the event before; 0 for the first.
    values [b, T]: the raw rating or the like; NaN where there is none.
    mask [b, T]: 1 for an event, 0 for padding.
    """

    item_vectors: Floats
    actions: Ints
    gap_seconds: Floats
    values: Floats
    mask: Floats


@dataclass(frozen=True, slots=True)
class Steps:
    """One event for each of b users: state [b, S], the others [b, d], [b], [b], [b] as in Histories."""

    state: Floats
    item_vectors: Floats
    actions: Ints
    gap_seconds: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class States:
    """state [b, S] and user_vector [b, d]."""

    state: Floats
    user_vector: Floats


@dataclass(frozen=True, slots=True)
class FoldResult:
    """States, and how much each event adds to the user vector: contributions [b, T, d], zero on padding;
    their sum over T, plus a constant of the model, is the user vector."""

    states: States
    contributions: Floats


@dataclass(frozen=True, slots=True)
class Candidates:
    """m items to be ranked for each of b users, each at one moment.

    Shorter lists are padded: a candidate's numbers do not depend on the other candidates.

    vectors [b, m, d].
    age_seconds [b, m]: since publication; -1 where that is unknown.
    popularity [b, m, P]: positive events weighed by age, with each half-life of the manifest in its order.
    idle_seconds [b]: since the newest event that the user's state covers; -1: nothing has happened yet.
    """

    vectors: Floats
    age_seconds: Floats
    popularity: Floats
    idle_seconds: Floats


@dataclass(frozen=True, slots=True)
class Ranking:
    """probabilities [b, m, A] in the order of the manifest's actions; predicted_value [b, m]."""

    probabilities: Floats
    predicted_value: Floats


class Model(Protocol):
    """The graphs of a bundle. `timeout` is in seconds; every call raises ModelUnavailable and
    nothing else when the model fails, and never returns a number that is not finite."""

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        """Item vectors [b, d], of what their texts say."""

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        """Item vectors [b, d] with a modality of the bundle added, from the vectors before it: each item has n
        contents, prepared, [b, n, ...]. Modalities are added in the manifest's order; what an item does not
        have is left out."""

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States: ...

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult: ...

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        """What b users would do with their candidates."""

    async def ready(self, version: int) -> bool:
        """Whether all graphs answer under this version. Never raises."""

    async def close(self) -> None: ...
