"""The lists that the client hands out."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from recstream.v1.frame_pb2 import Cause
from recstream.v1.slate_pb2 import RankedItem, Slate


class Tier(enum.IntEnum):
    """How good an answer could be made within the deadline and with the servers at hand."""

    UNSPECIFIED = 0
    #: The model's ranker scored the candidates.
    RANKED = 1
    #: The user's vector against the items' vectors.
    VECTORS = 2
    #: Popularity.
    POPULAR = 3

    @classmethod
    def _missing_(cls, value: object) -> Tier:
        return cls.UNSPECIFIED  # a tier that a later server has and this client does not know


@dataclass(frozen=True, slots=True)
class Recommendations(Sequence[RankedItem]):
    """A ranked list, best first. Behaves like a tuple of `RankedItem`.

    Attributes:
        items: the items; an item's place is its index.
        slate_id: names the list; hand it to `record()` with clicks and impressions. Empty on an empty list.
        tier: how good the list could be made.
        includes_events: False: the deadline came before the events in `after` were in the profile.
        next_page_token: for `recommend(page_token=...)`; empty: there are no further items.
        profile_revision: the profile it was made from; comparable for equality only.
        model_version: the model that scored it; 0 where none did.
        profile_unavailable: True: the list knows nothing of the user, the profile could not be read.
        causes: on streams, the events that made the server look again; empty for the first list.
        resume_token: on streams, where to go on; see `stream(resume=...)`.
        sequence: on streams, the frame's number within its connection.

    Example:
        >>> [item.item_id for item in Recommendations(items=(RankedItem(item_id="tt0114709"),))]
        ['tt0114709']
    """

    items: tuple[RankedItem, ...]
    slate_id: str = ""
    tier: Tier = Tier.UNSPECIFIED
    includes_events: bool = True
    next_page_token: str = ""
    profile_revision: int = 0
    model_version: int = 0
    profile_unavailable: bool = False
    causes: tuple[Cause, ...] = ()
    resume_token: str = ""
    sequence: int = 0

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The ids of the items, best first."""
        return tuple(item.item_id for item in self.items)

    @overload
    def __getitem__(self, index: int) -> RankedItem: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RankedItem, ...]: ...
    def __getitem__(self, index: int | slice) -> RankedItem | tuple[RankedItem, ...]:
        return self.items[index]

    def __iter__(self) -> Iterator[RankedItem]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def from_slate(
    slate: Slate,
    *,
    items: Sequence[RankedItem] | None = None,
    includes_events: bool = True,
    next_page_token: str = "",
    causes: Sequence[Cause] = (),
    resume_token: str = "",
    sequence: int = 0,
) -> Recommendations:
    """The list of a slate. `items` stands in for the slate's own where it came as a delta."""
    return Recommendations(
        items=tuple(slate.items if items is None else items),
        slate_id=slate.slate_id,
        tier=Tier(slate.tier),
        includes_events=includes_events,
        next_page_token=next_page_token,
        profile_revision=slate.profile_revision,
        model_version=slate.model_version,
        profile_unavailable=slate.profile_unavailable,
        causes=tuple(causes),
        resume_token=resume_token,
        sequence=sequence,
    )
