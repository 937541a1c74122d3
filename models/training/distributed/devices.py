"""What a training computes on."""

from typing import TYPE_CHECKING, Literal

from models.errors import DeviceMissing

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]


def device_of(wanted: Device, local_rank: int) -> "torch.device":
    """The GPU of this process, the local_rank-th of the machine, or the CPU; auto: a GPU where there is one for it.

    Raises DeviceMissing.
    """
    # Settings name the type above, and what reads settings does not load torch.
    import torch

    if wanted == "cpu":
        return torch.device("cpu")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank < there:
        return torch.device("cuda", local_rank)
    if wanted == "cuda" or there:
        raise DeviceMissing(
            f"process {local_rank} of this machine wants a GPU of its own, and torch sees {there}: start as many "
            "processes as there are GPUs, or set train.device=cpu"
        )
    return torch.device("cpu")
