"""This process's rank among those that `torchrun` started. Nothing here loads torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TorchrunRank:
    """Ranks as torchrun names them.

    Attributes:
        rank: rank of this process, from 0.
        world_size: number of processes.
        local_rank: rank of this process on its machine, from 0.
        local_world_size: number of processes on its machine.
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
    """The rank from torchrun's environment variables; without torchrun, that of a single process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return TorchrunRank()
    return TorchrunRank(
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_world_size=int(os.environ["LOCAL_WORLD_SIZE"]),
    )
