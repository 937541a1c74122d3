"""A query: the request for one user's list at one moment, and what hydration adds to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inference.bundle.bundle import Manifest
from inference.model import Floats, States
from profiles.folding.tail import Tail
from profiles.profile import Entry, Stored
from ranking.rules.active import NO_RULES, ActiveRules
from ranking.settings import DEFAULT_SURFACE, SurfaceSettings
from recstream.v1 import filter_pb2, rules_pb2

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A client's request for a list, independent of the transport. A stream reuses it for all of its lists.

    Attributes:
        user_id: The user.
        count: Length of the list. It is shorter only if fewer items are allowed.
        item_ids: Distinct ids of the items to rank. Empty: the list is of items that the sources find.
        surface: The surface whose settings apply. One that is not in force has those of `default`.
        domain: Only items of this domain. Empty: all.
        filter: Only items that match. None: all.
        excluded: Item ids to leave out. Unknown ids are ignored.
        served: `profiles.folding.tail.hash64` of the ids on earlier pages of the session. They are left out too.
        experiments: Experiment name to arm. They go to the slate's record and change nothing here.
        rules: Rules of this list, added to the surface's. None: only the surface's.
    """

    user_id: str
    count: int
    item_ids: tuple[str, ...] = ()
    surface: str = DEFAULT_SURFACE
    domain: str = ""
    filter: filter_pb2.Filter | None = None
    excluded: frozenset[str] = frozenset()
    served: frozenset[int] = frozenset()
    experiments: Mapping[str, str] = field(default_factory=dict)
    rules: rules_pb2.ListRules | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One list to make.

    Attributes:
        request: The request.
        now_ms: The moment of the list in Unix milliseconds. Ages, idle time, popularity and expiry are counted from it.
        stored: The user's profile. None: there is none.
        tail: The items that the user consumed before the profile's history begins. None: there are none.
        profile_unavailable: Whether the profile could not be read. The list is then a popular one and says so.
    """

    request: ListRequest
    now_ms: int
    stored: Stored | None = None
    tail: Tail | None = None
    profile_unavailable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class User:
    """The user's state under a model version.

    Attributes:
        version: The model version.
        states: The state, one row.
        idle_seconds: Seconds from the newest event that the state covers to the moment. -1: it covers none.
        behind: Whether the state does not cover the whole history and could not be refolded in time.
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

    Attributes:
        request, now_ms, profile_unavailable: See `Query`.
        settings: The settings of the request's surface.
        surfaces_version: The version of the surfaces that they are of. 0: the settings of the process.
        revision: The revision of the profile. 0 without one.
        manifest, user: The model version and the user's state. None: the list is made without a model.
        model_history: The entries that the model state covers, oldest first.
        positives: Items whose newest event by the user is positive, newest first, without duplicates.
        consumed: Catalogue rows that must not be listed: items that the user consumed (unless their action is
            repeatable), that the request excludes, or that earlier pages served. Pinned items are not among them.
        rules: The rules that hold for the list.
        pins: Catalogue rows and positions of the pinned items. The row of an unknown item is -1. Items that the request
            excludes, or that earlier pages served, are not pinned.
        shown: Number of impressions by catalogue row, for rotation. Empty without rotation.
    """

    request: ListRequest
    now_ms: int
    settings: SurfaceSettings
    surfaces_version: int = 0
    profile_unavailable: bool = False
    revision: int = 0
    manifest: Manifest | None = None
    user: User | None = None
    model_history: tuple[Entry, ...] = ()
    positives: tuple[str, ...] = ()
    consumed: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    rules: ActiveRules = NO_RULES
    pins: tuple[tuple[int, int], ...] = ()
    shown: Mapping[int, int] = field(default_factory=dict)
