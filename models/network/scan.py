"""The linear recurrence h_t = a_t h_{t-1} + b_t for all t at once, with its gradient."""

import torch
from torch import Tensor
from torch.nn import functional


def linear_scan(decay: Tensor, inputs: Tensor) -> Tensor:
    """States after each event, from h_0 = 0.

    Args:
        decay: a, [b, t, S].
        inputs: b, [b, t, S].

    Returns:
        h, [b, t, S].
    """
    states: Tensor = _Scan.apply(decay, inputs)
    return states


class _Scan(torch.autograd.Function):
    """The gradient is the same recurrence, run backwards: the gradient of h_t is its own plus a_{t+1} times that of
    h_{t+1}. Both directions store the states and nothing else."""

    @staticmethod
    def forward(ctx, decay: Tensor, inputs: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        states = _states(decay, inputs)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        decay, states = ctx.saved_tensors
        next_decay = functional.pad(decay[:, 1:], (0, 0, 0, 1))
        total = _states(next_decay.flip(1), gradient.flip(1)).flip(1)
        return total * functional.pad(states[:, :-1], (0, 0, 1, 0)), total


def _states(decay: Tensor, inputs: Tensor) -> Tensor:
    return sequential_scan(decay, inputs) if decay.device.type == "cpu" else parallel_scan(decay, inputs)


def sequential_scan(decay: Tensor, inputs: Tensor) -> Tensor:
    """One event after the other: the least work, which is what counts on a CPU."""
    states = torch.empty_like(inputs)
    state = torch.zeros_like(inputs[:, 0])
    for t in range(inputs.shape[1]):
        state = torch.addcmul(inputs[:, t], decay[:, t], state)
        states[:, t] = state
    return states


def parallel_scan(decay: Tensor, inputs: Tensor) -> Tensor:
    """log2(t) rounds (Hillis and Steele 1986): the fewest sequential steps, which is what counts on a GPU."""
    state, reach = inputs, 1
    while reach < state.shape[1]:
        earlier = functional.pad(state[:, :-reach], (0, 0, reach, 0))
        earlier_decay = functional.pad(decay[:, :-reach], (0, 0, reach, 0), value=1.0)
        state, decay = state + decay * earlier, decay * earlier_decay
        reach *= 2
    return state
