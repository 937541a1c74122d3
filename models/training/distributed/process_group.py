"""One training by several processes: each takes its share of every batch, and all make the same step.

The loss is a sum over targets divided by what they weigh together. So each process divides its own sum by what all of
them weigh (`total`), and gradients are added up (`add_gradients`): the step is that of the whole batch to rounding,
however unequal the shares are. DistributedDataParallel (Li et al. 2020, arXiv:2006.15704) takes the mean of the
processes' gradients instead, which is another loss where shares are unequal, and hangs on the forward of a single
module, where this model is called in several parts. Its bucketing is kept.

Without `together` there is one process, and nothing here does anything.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np
import torch

# Its functions' default group is the one that is there when it is loaded, which they would hold for good: an optimizer
# loads it. A group that outlives `together` runs into the interpreter's end, where a process can be aborted.
import torch.distributed.nn.functional
from torch import Tensor, distributed, nn

from models.errors import WorkerLost
from models.training.distributed.launch import Place

T = TypeVar("T")

# Numbers in a bucket: small tensors travel together, large ones alone.
_BUCKET: Final = 1 << 20


@contextmanager
def together(place: Place, timeout_seconds: float) -> Iterator[None]:
    """Joins the other processes until the end of the block. A wait for one of them that lasts longer than the
    timeout, or for one that has gone, raises WorkerLost."""
    if place.count == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _waiting():
        distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This one's number."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share(batch: Sequence[T]) -> Sequence[T]:
    """This process's part of a batch that all of them know: every count-th. Shares differ by one at most; where there
    are fewer than processes, some are empty."""
    return batch[rank() :: count()] if count() > 1 else batch


def own(rng: np.random.Generator) -> np.random.Generator:
    """Chances of this process alone. `rng` moves on by one number, however many there are and whatever they draw, so
    that all of them go on shuffling alike."""
    return np.random.default_rng((int(rng.integers(1 << 62)), rank()))


def part_chances(seed: int) -> None:
    """From here on dropout and samples differ by process."""
    if count() > 1:
        torch.manual_seed((seed << 16) + rank())


def total(part: Tensor) -> Tensor:
    """The sum over the processes of a number that each has, without a gradient."""
    if count() == 1:
        return part
    summed = part.detach().clone()
    with _waiting():
        distributed.all_reduce(summed)
    return summed


def add_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """After `backward`: gives each parameter the sum of the processes' gradients, and returns the sum of their
    losses. A parameter without a gradient in any of them stays without."""
    if count() == 1:
        return loss.detach()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    there = [float(p.grad is not None) for p in parameters]
    report = torch.cat([loss.detach().reshape(1), torch.tensor(there, device=loss.device)])
    buckets = [*_buckets(gradients)]
    flat = [torch.cat([g.reshape(-1) for g in b]) if len(b) > 1 else b[0].contiguous() for b in buckets]
    with _waiting():
        works = [distributed.all_reduce(numbers, async_op=True) for numbers in (report, *flat)]
        for work in works:
            work.wait()
    summed = []
    for numbers, bucket in zip(flat, buckets, strict=True):
        ends = np.cumsum([gradient.numel() for gradient in bucket])
        for gradient, end in zip(bucket, ends.tolist(), strict=True):
            summed.append(numbers.reshape(-1)[end - gradient.numel() : end].view_as(gradient))
    for parameter, gradient, known in zip(parameters, summed, report[1:].tolist(), strict=True):
        parameter.grad = gradient if known else None
    return report[0]


def agree(module: nn.Module) -> None:
    """Every process's numbers become the first one's."""
    if count() > 1:
        with _waiting(), torch.no_grad():
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)


def told(text: str | None) -> str:
    """The first process's text, in all of them."""
    if count() == 1:
        return text or ""
    held = [text]
    with _waiting():
        distributed.broadcast_object_list(held, 0)
    return held[0] or ""


def told_by_all(texts: list[str]) -> list[list[str]]:
    """What each process says, in the order of their numbers, in all of them."""
    if count() == 1:
        return [texts]
    held: list[list[str]] = [[] for _ in range(count())]
    with _waiting():
        distributed.all_gather_object(held, texts)
    return held


def rows_of_all(mine: Tensor, first: int, rows: int) -> Tensor:
    """A table [rows, w] on the CPU of which each process has some rows, those from `first` on, and no two the same."""
    if count() == 1:
        return mine
    table = mine.new_zeros(rows, *mine.shape[1:])
    table[first : first + len(mine)] = mine
    with _waiting():
        distributed.all_reduce(table)
    return table


def span(rows: int) -> tuple[int, int]:
    """First row of this process's part of a table, and the row behind its last."""
    return rows * rank() // count(), rows * (rank() + 1) // count()


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    waiting: list[Tensor] = []
    for gradient in gradients:
        if waiting and sum(g.numel() for g in waiting) + gradient.numel() > _BUCKET:
            yield waiting
            waiting = []
        waiting.append(gradient)
    if waiting:
        yield waiting


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise WorkerLost(
            "another process of this training has ended or has not answered in time, so this one stops: what it said "
            "is above, or on its own machine"
        ) from error
