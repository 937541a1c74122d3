"""Where this process stands among those that `torchrun` started. Nothing here loads torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """rank: of this process among all `count`; local_rank: among the `local_count` of its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0


def own_place() -> Place:
    """As `torchrun` says by its environment variables; without it, alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Place()
    rank, count, local_rank, local_count = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    return Place(rank, count, local_rank, local_count)
