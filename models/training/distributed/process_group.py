"""Data-parallel training: each process takes its share of every batch, and all make the same step.

The loss is a sum over targets divided by their total weight. Each process divides its own sum by the total weight of
all (`all_reduce_sum`), and gradients are added up (`add_gradients`). So the step is that of the whole batch up to
rounding, even if the shares are unequal. DistributedDataParallel (Li et al. 2020, arXiv:2006.15704) averages the
processes' gradients, which is another loss for unequal shares, and hooks into the forward pass of a single module,
where this model is called in several parts. Its bucketing of gradients is kept.

Without `join_process_group` there is one process, and every collective returns its input.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import numpy as np
import torch

# Imported early on purpose. The default group of its functions is bound when it is loaded, and the optimizer loads it.
# If it were loaded within a group, it would keep that group alive until the interpreter exits, where the process can
# abort.
import torch.distributed.nn.functional
from torch import Tensor, distributed, nn

from models.errors import WorkerLost
from models.training.distributed.torchrun import TorchrunRank

# Numbers of a bucket. Small gradients are reduced together, large ones alone.
_BUCKET: Final = 1 << 20


@contextmanager
def join_process_group(rank: TorchrunRank, timeout_seconds: float) -> Iterator[None]:
    """Joins the other processes for the duration of the block.

    Raises:
        WorkerLost: another process has ended, or a collective took longer than the timeout.
    """
    if rank.world_size == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _collective():
        distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """This process's rank, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def rank_rng(rng: np.random.Generator) -> np.random.Generator:
    """A generator that only this process has.

    `rng` advances by one number, whatever this process draws later. So all processes continue to shuffle alike.
    """
    return np.random.default_rng((int(rng.integers(1 << 62)), rank()))


def seed_rank(seed: int) -> None:
    """Makes dropout and samples differ between processes from here on."""
    if world_size() > 1:
        torch.manual_seed((seed << 16) + rank())


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum of a tensor over the processes, without a gradient."""
    if world_size() == 1:
        return value
    summed = value.detach().clone()
    with _collective():
        distributed.all_reduce(summed)
    return summed


def add_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Call it after `backward`. Gives each parameter the sum of the processes' gradients.

    A parameter that has no gradient in any process stays without one.

    Returns:
        The sum of the processes' losses.
    """
    if world_size() == 1:
        return loss.detach()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    has_gradient = [float(p.grad is not None) for p in parameters]
    report = torch.cat([loss.detach().reshape(1), torch.tensor(has_gradient, device=loss.device)])
    buckets = [*_buckets(gradients)]
    flat = [torch.cat([g.reshape(-1) for g in b]) if len(b) > 1 else b[0].contiguous() for b in buckets]
    with _collective():
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


def broadcast_module(module: nn.Module) -> None:
    """Sets the module's tensors in all processes to those of rank 0."""
    if world_size() > 1:
        with _collective(), torch.no_grad():
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)


def broadcast_text(text: str | None) -> str:
    """The text of rank 0, in all processes."""
    if world_size() == 1:
        return text or ""
    texts = [text]
    with _collective():
        distributed.broadcast_object_list(texts, 0)
    return texts[0] or ""


def all_gather(texts: list[str]) -> list[list[str]]:
    """The texts of each process by rank, in all processes."""
    if world_size() == 1:
        return [texts]
    gathered: list[list[str]] = [[] for _ in range(world_size())]
    with _collective():
        distributed.all_gather_object(gathered, texts)
    return gathered


def all_gather_rows(rows: Tensor, first: int, count: int) -> Tensor:
    """A table [count, w] on the CPU, in all processes.

    Args:
        rows: this process's rows of the table. No two processes have the same row.
        first: index of the first of them.
        count: number of rows of the table.
    """
    if world_size() == 1:
        return rows
    table = rows.new_zeros(count, *rows.shape[1:])
    table[first : first + len(rows)] = rows
    with _collective():
        distributed.all_reduce(table)
    return table


def rank_span(rows: int) -> tuple[int, int]:
    """The range [first, end) of a table's rows that belongs to this process."""
    return rows * rank() // world_size(), rows * (rank() + 1) // world_size()


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and sum(g.numel() for g in bucket) + gradient.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


@contextmanager
def _collective() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise WorkerLost(
            "another process of this training has ended or has not answered in time, so this one stops: its own error "
            "is above, or on its machine"
        ) from error
