"""The lists that the client returns."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from recstream.v1.frame_pb2 import Cause
from recstream.v1.slate_pb2 import RankedItem, Slate


class Tier(enum.IntEnum):
    """How the server made a list within the deadline, with the backends that were available."""

    UNSPECIFIED = 0
    #: The model's ranker scored the candidates.
    RANKED = 1
    #: User and item vectors scored the candidates.
    VECTORS = 2
    #: Popularity scored the candidates.
    POPULAR = 3

    @classmethod
    def _missing_(cls, value: object) -> Tier:
        return cls.UNSPECIFIED  # a tier of a newer server, which this client does not know


@dataclass(frozen=True, slots=True)
class Recommendations(Sequence[RankedItem]):
    """A ranked list, best first. Behaves like a tuple of `RankedItem`.

    Attributes:
        items: the items; an item's position is its index. `item.item` has the fields that `item_fields` named.
        slate_id: the list's id; pass it to `record()` and `record_impression()`. Empty for an empty list.
        tier: how the list was made.
        includes_events: False: the deadline came before the list could include all that `after` and `after_event_ids`
            name. On streams, only the first list can have it.
        next_page_token: for `recommend(page_token=...)`; empty: there are no further items.
        unknown_item_ids: of `rank()`, the items that the catalogue does not know, in the order in which you named them.
        profile_revision: the revision of the profile that it was made from; only compare it for equality.
        model_version: the version of the model that scored it; 0: no model.
        profile_unavailable: True: the profile could not be read, so the list does not depend on the user.
        causes: on streams, the events that led to this list; empty for the first list, unless the stream resumed.
        resume_token: on streams, where to resume; see `stream(resume=...)`.
        sequence: on streams, the number of the frame within its connection.

    Example:
        >>> [item.item_id for item in Recommendations(items=(RankedItem(item_id="tt0114709"),))]
        ['tt0114709']
    """

    items: tuple[RankedItem, ...]
    slate_id: str = ""
    tier: Tier = Tier.UNSPECIFIED
    includes_events: bool = True
    next_page_token: str = ""
    unknown_item_ids: tuple[str, ...] = ()
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
    unknown_item_ids: Sequence[str] = (),
    causes: Sequence[Cause] = (),
    resume_token: str = "",
    sequence: int = 0,
) -> Recommendations:
    """Returns the list of a slate. `items` replaces the items of a slate that came with a delta."""
    return Recommendations(
        items=tuple(slate.items if items is None else items),
        slate_id=slate.slate_id,
        tier=Tier(slate.tier),
        includes_events=includes_events,
        next_page_token=next_page_token,
        unknown_item_ids=tuple(unknown_item_ids),
        profile_revision=slate.profile_revision,
        model_version=slate.model_version,
        profile_unavailable=slate.profile_unavailable,
        causes=tuple(causes),
        resume_token=resume_token,
        sequence=sequence,
    )
