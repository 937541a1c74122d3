"""The hydrated question: everything that the stages need to know of the user and the moment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.bundle.bundle import Manifest
from inference.model import Floats, States
from profiles.profile import Entry, Profile
from ranking.request import ListRequest
from ranking.settings import SurfaceSettings

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class User:
    """What the model version makes of the user. states has one row.

    idle_seconds: from the newest event that the state covers to the moment; -1: it covers none.
    behind: the state does not cover the whole history, and could not be folded anew in time.
    """

    version: int
    states: States
    idle_seconds: float
    behind: bool = False

    @property
    def vector(self) -> Floats:
        """The user vector [d]."""
        vector: Floats = self.states.user_vector[0]
        return vector


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request, hydrated.

    now_ms: the moment, Unix milliseconds; ages, expiry and decay are counted from it.
    revision: of the profile; 0 without one. unavailable: the profile could not be read.
    manifest, user: None where the model can have no part in the answer.
    model_history: the entries that the model state covers, oldest first.
    positives: items whose last word was positive, newest first, without duplicates.
    taken: catalogue rows that the user has taken, or that earlier pages or the request left out.
    """

    request: ListRequest
    settings: SurfaceSettings
    now_ms: int
    profile: Profile | None
    revision: int
    unavailable: bool
    manifest: Manifest | None
    user: User | None
    model_history: tuple[Entry, ...]
    positives: tuple[str, ...]
    taken: Rows
