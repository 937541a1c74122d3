"""The model as a small protocol over numpy arrays."""

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
    """Tokenised texts of b items, right-padded.

    Attributes:
        ids: Token ids, [b, t].
        mask: 1 for a token, 0 for padding, [b, t].
        item_index: The item's index in training, 0 for an item that was not in training, [b].
    """

    ids: Ints
    mask: Ints
    item_index: Ints


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories of b users, right-padded to T events, oldest first.

    Attributes:
        item_vectors: [b, T, d], zeros where the item has no vector.
        actions: Index into the manifest's actions, 0 for an action that the model does not know, [b, T].
        gap_seconds: Seconds since the previous event, 0 for the first, [b, T].
        values: The raw value, such as a rating; NaN where there is none, [b, T].
        mask: 1 for an event, 0 for padding, [b, T].
    """

    item_vectors: Floats
    actions: Ints
    gap_seconds: Floats
    values: Floats
    mask: Floats


@dataclass(frozen=True, slots=True)
class Steps:
    """One event for each of b users: state [b, S]; item_vectors [b, d]; actions, gap_seconds and values [b], as in
    `Histories`."""

    state: Floats
    item_vectors: Floats
    actions: Ints
    gap_seconds: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class States:
    """Model states of b users: state [b, S] and user_vector [b, d]."""

    state: Floats
    user_vector: Floats


@dataclass(frozen=True, slots=True)
class FoldResult:
    """The result of folding histories.

    Attributes:
        states: Of b users.
        contributions: What each event adds to the user vector, [b, T, d], zero on padding. Their sum over T, plus a
            constant of the model, is the user vector.
    """

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
    """What the ranker predicts.

    Attributes:
        probabilities: Of each action, in the manifest's order, [b, m, A].
        predicted_value: [b, m].
    """

    probabilities: Floats
    predicted_value: Floats


class Model(Protocol):
    """The graphs of a bundle.

    `timeout` is in seconds. A call that fails raises ModelUnavailable and nothing else. No call returns a number
    that is not finite.
    """

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        """Item vectors [b, d] from the items' texts."""

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        """Item vectors [b, d] with a modality added.

        Modalities are added in the manifest's order. One that an item does not have is skipped.

        Args:
            version: The model version.
            name: The modality.
            vectors: Item vectors before it, [b, d].
            contents: n prepared contents of each item, [b, n, ...].
            timeout: Seconds.
        """

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        """States after one more event each."""

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        """States from whole histories, and the contribution of each event."""

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        """What b users would do with their m candidates each."""

    async def ready(self, version: int) -> bool:
        """Whether all graphs answer under this version. Never raises."""

    async def close(self) -> None:
        """Closes the connection."""
