"""The protocol of a model: its calls, with numpy arrays as inputs and outputs."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.bundle.modalities import Prepared

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class ModelUnavailable(Exception):
    """The model gave no usable answer in time: it is unreachable, its queue is full, the deadline has passed, or its
    numbers are not finite."""


class NotFinite(ModelUnavailable):
    """The model answered, but some numbers are not finite. `rows` are their indices in the batch."""

    def __init__(self, message: str, rows: tuple[int, ...]) -> None:
        super().__init__(message)
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenised texts of b items, right-padded.

    Attributes:
        ids: Token ids, [b, t].
        mask: 1 for a token, 0 for padding, [b, t].
        item_index: The item's index in training, [b]. 0 for an item that was not in training.
    """

    ids: Ints
    mask: Ints
    item_index: Ints


@dataclass(frozen=True, slots=True)
class Histories:
    """Histories of b users, right-padded to T events, oldest first.

    Attributes:
        item_vectors: Vectors of the events' items, [b, T, d]. Zeros if the item has no vector.
        actions: Index of the action (`Manifest.action_index`), [b, T]. 0 for an action that the model does not know.
        gap_seconds: Seconds since the previous event, [b, T]. 0 for the first event.
        values: The raw value, such as a rating, [b, T]. NaN if there is none.
        mask: 1 for an event, 0 for padding, [b, T].
    """

    item_vectors: Floats
    actions: Ints
    gap_seconds: Floats
    values: Floats
    mask: Floats


@dataclass(frozen=True, slots=True)
class Steps:
    """One event for each of b users.

    Attributes:
        state: The user's state before the event, [b, S].
        item_vectors: As in `Histories`, [b, d].
        actions, gap_seconds, values: As in `Histories`, [b].
    """

    state: Floats
    item_vectors: Floats
    actions: Ints
    gap_seconds: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class States:
    """Model states [b, S] and vectors [b, d] of b users."""

    state: Floats
    user_vector: Floats


@dataclass(frozen=True, slots=True)
class FoldResult:
    """The result of folding histories.

    Attributes:
        states: The states of b users.
        contributions: The part of the user vector that comes from each event, [b, T, d]. Zero on padding. Their sum
            over T, plus a constant of the model, is the user vector.
    """

    states: States
    contributions: Floats


@dataclass(frozen=True, slots=True)
class Candidates:
    """m items to rank for each of b users, for each user at one moment.

    Shorter lists are padded. This is harmless, because a candidate's numbers do not depend on the other candidates.

    Attributes:
        vectors: Item vectors, [b, m, d].
        age_seconds: Seconds since publication, [b, m]. -1 if unknown.
        popularity: Positive events weighted by age, one number for each half-life of the manifest, [b, m, P].
        idle_seconds: Seconds since the newest event that the user's state covers, [b]. -1 if it covers none.
    """

    vectors: Floats
    age_seconds: Floats
    popularity: Floats
    idle_seconds: Floats


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ranker's predictions.

    Attributes:
        probabilities: Probability of each action, in the manifest's order, [b, m, A].
        predicted_value: The value that the user would give, such as a rating, [b, m].
    """

    probabilities: Floats
    predicted_value: Floats


class Model(Protocol):
    """The graphs of a bundle.

    `timeout` is in seconds. A failed call raises ModelUnavailable and nothing else. All numbers that a call returns are
    finite.
    """

    async def encode_items(self, version: int, tokens: Tokens, *, timeout: float) -> Floats:
        """Encodes the items' texts into item vectors [b, d]."""

    async def add_modality(
        self, version: int, name: str, vectors: Floats, contents: Prepared, *, timeout: float
    ) -> Floats:
        """Adds a modality to item vectors.

        The caller adds modalities in the manifest's order, and skips those that an item does not have.

        Args:
            version: The model version.
            name: The modality.
            vectors: Item vectors so far, [b, d].
            contents: n prepared contents of each item, [b, n, ...].
            timeout: Seconds.

        Returns:
            The new item vectors, [b, d].
        """

    async def step(self, version: int, steps: Steps, *, timeout: float) -> States:
        """Computes the users' states after one more event each."""

    async def fold(self, version: int, histories: Histories, *, timeout: float) -> FoldResult:
        """Computes states from whole histories, and the contribution of each event."""

    async def rank(self, version: int, users: States, candidates: Candidates, *, timeout: float) -> Ranking:
        """Predicts what each of b users would do with each of their m candidates."""

    async def ready(self, version: int) -> bool:
        """Whether all graphs of this version answer. Never raises."""

    async def close(self) -> None:
        """Closes the connection."""
