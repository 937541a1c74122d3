"""The device that a process of a training computes on."""

import torch

from models.errors import DeviceMissing
from models.training.settings import Device


def device_of(wanted: Device, local_rank: int) -> torch.device:
    """The GPU number `local_rank` of this machine, or the CPU.

    Args:
        wanted: `auto` takes a GPU if there is one.
        local_rank: rank of this process on its machine.

    Raises:
        DeviceMissing: there is no GPU for this process, and the CPU was not asked for.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank < count:
        return torch.device("cuda", local_rank)
    if wanted == "cuda" or count:
        raise DeviceMissing(
            f"process {local_rank} of this machine needs a GPU of its own, and torch sees {count}: start as many "
            "processes as there are GPUs, or set train.device=cpu"
        )
    return torch.device("cpu")
