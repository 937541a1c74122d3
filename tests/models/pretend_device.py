"""A device that claims not to be the CPU, but computes on it. Without a GPU, it shows what would fail on one.

Its tensors hold a CPU tensor and claim to be on another device. It refuses what an operation on a GPU would refuse: CPU
tensors beside its own, except single numbers and indices. numpy cannot read its tensors. It cannot show other kernels,
memory, speed or NCCL. Random numbers are those of the CPU. Such tensors have no inference mode, so it becomes
`no_grad`. A process cannot get rid of the device, so tests start a process for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

P = ParamSpec("P")
R = TypeVar("R")
NAME = "pretend"
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_COPYING = {"_to_copy", "copy_"}
_registered: list[torch.device] = []


def pretend_device() -> torch.device:
    """The device. The first call registers it with torch."""
    if not _registered:
        _setup_privateuseone_for_python_backend(NAME, _Chances())
        _registered.append(torch.device(NAME, 0))
        torch.inference_mode = torch.no_grad  # type: ignore[misc,assignment]
    return _registered[0]


@contextmanager
def pretending() -> Iterator[torch.device]:
    """Within the block, tensors can be created on the device."""
    device = pretend_device()
    with _Mode():
        yield device


def on_the_cpu(call: Callable[P, R]) -> Callable[P, R]:
    """The function without the device, as tracing a graph needs it. Its arguments must not be on the device."""

    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with _disable_current_modes():
            return call(*args, **kwargs)

    return called


class _Chances(_DummyBackendModule):
    """The device has the random generator of the CPU."""

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)


class MixedDevices(RuntimeError):
    """An operation got tensors of both devices."""


class _Far(Tensor):
    near: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, near: Tensor) -> "_Far":
        out: _Far = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=pretend_device(),
        )
        out.near = near
        return out

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__  # type: ignore[attr-defined]
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = {id(tensor.near): tensor for tensor in given if isinstance(tensor, _Far)}
    if far and name not in _COPYING:
        for tensor in given:
            index = name in _INDEXING and not tensor.is_floating_point()
            if not isinstance(tensor, _Far) and tensor.ndim and not index:
                raise MixedDevices(f"{func}: a tensor {tuple(tensor.shape)} is on the CPU")
    wanted = kwargs.get("device")
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if name == "copy_":
        return args[0]
    if torch.device(wanted).type != NAME if wanted is not None else not far:
        return out
    return tree_map(lambda value: far[id(value)] if id(value) in far else _far(value), out)


def _near(value: Any) -> Any:
    return value.near if isinstance(value, _Far) else value


def _far(value: Any) -> Any:
    return _Far(value) if isinstance(value, Tensor) else value
