"""This process's rank among those that `torchrun` started. Nothing here loads torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TorchrunRank:
    """Ranks as torchrun names them.

    Attributes:
        rank: of this process, from 0.
        world_size: how many processes there are.
        local_rank: of this process on its machine, from 0.
        local_world_size: how many processes its machine has.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0


def torchrun_rank() -> TorchrunRank:
    """The rank in torchrun's environment variables; without torchrun, that of a single process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return TorchrunRank()
    return TorchrunRank(
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_world_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )
