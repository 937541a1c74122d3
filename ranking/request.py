"""What is asked of the pipeline, free of transport."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recstream.v1 import filter_pb2

DEFAULT_SURFACE = "default"


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One list for one user. Checked before it comes here: count is 1 to 500.

    count: items wanted; what is left is given if fewer are left.
    surface: selects the settings; one that is not configured gets those of `default`.
    domain: only items of this domain; empty: all. filter: None: all.
    excluded: item ids to leave out; unknown ones do no harm.
    served: `profiles.folding.tail.hash64` of the ids on earlier pages of the session, which stay away as well.
    experiments: experiment name to arm; carried to the slate's record, of no effect here.
    as_of_ms: the moment that the list is of, Unix milliseconds; None: that at which it is made.
    """

    user_id: str
    count: int
    surface: str = DEFAULT_SURFACE
    domain: str = ""
    filter: filter_pb2.Filter | None = None
    excluded: frozenset[str] = frozenset()
    served: frozenset[int] = frozenset()
    experiments: Mapping[str, str] = field(default_factory=dict)
    as_of_ms: int | None = None
