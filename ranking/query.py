"""What is asked of ranking: a list for one user at one moment, and what hydration adds to the question."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inference.bundle.bundle import Manifest
from inference.model import Floats, States
from profiles.folding.tail import Tail
from profiles.profile import Entry, Stored
from ranking.settings import DEFAULT_SURFACE, SurfaceSettings
from recstream.v1 import filter_pb2

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What a client wants listed, free of transport. A stream keeps it and asks with it again and again.

    user_id: whose list it is.
    count: items wanted. The list is shorter only if fewer items are allowed.
    surface: selects the settings. A surface that is not configured gets the settings of `default`.
    domain: only items of this domain; empty: all.
    filter: only items that match; None: all.
    excluded: item ids to leave out. Unknown ids are ignored.
    served: `profiles.folding.tail.hash64` of the ids on earlier pages of the session, which are left out too.
    experiments: experiment name to arm. They go to the slate's record and change nothing here.
    """

    user_id: str
    count: int
    surface: str = DEFAULT_SURFACE
    domain: str = ""
    filter: filter_pb2.Filter | None = None
    excluded: frozenset[str] = frozenset()
    served: frozenset[int] = frozenset()
    experiments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One list to make: the request, the moment, and the user's profile as it was read.

    now_ms: the moment of the list, Unix milliseconds. Ages, idle time, popularity and expiry are counted from it.
    stored, tail: the user's profile, and the tail of what the user consumed before it begins; None: there is none.
    profile_unavailable: the profile could not be read. The list is a popular one and says so.
    """

    request: ListRequest
    now_ms: int
    stored: Stored | None = None
    tail: Tail | None = None
    profile_unavailable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class User:
    """What a model version knows of the user.

    states: one row.
    idle_seconds: from the newest event that the state covers to the moment; -1: it covers none.
    behind: the state does not cover the whole history, and could not be folded again in time.
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
class HydratedQuery:
    """A query with everything that the stages after hydration need.

    request, now_ms, profile_unavailable: see `Query`.
    settings: of the request's surface.
    revision: of the profile; 0 without one.
    manifest, user: None where no model can have a part in the list.
    model_history: the entries that the model state covers, oldest first.
    positives: items on which the user's last word was positive, newest first, each once.
    consumed: catalogue rows that must not be listed: what the user consumed (unless its action may repeat), what the
        request excludes, and what earlier pages served.
    """

    request: ListRequest
    now_ms: int
    settings: SurfaceSettings
    profile_unavailable: bool = False
    revision: int = 0
    manifest: Manifest | None = None
    user: User | None = None
    model_history: tuple[Entry, ...] = ()
    positives: tuple[str, ...] = ()
    consumed: Rows = field(default_factory=lambda: np.empty(0, np.int64))
