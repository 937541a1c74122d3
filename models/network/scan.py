"""h_t = a_t h_{t-1} + b_t for all t, with its gradient."""

import torch
from torch import Tensor
from torch.nn import functional


def scan(decay: Tensor, entering: Tensor) -> Tensor:
    """States [b, t, H] after each of t events, from decays a and inputs b [b, t, H]; h_0 is zero."""
    states: Tensor = _Scan.apply(decay, entering)
    return states


class _Scan(torch.autograd.Function):
    """The gradient is the same recurrence, run from the end: what reaches h_t is its own gradient, and a_{t+1} times
    what reaches h_{t+1}. Neither way keeps more than the states."""

    @staticmethod
    def forward(ctx, decay: Tensor, entering: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        states = _states(decay, entering)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        decay, states = ctx.saved_tensors
        following = functional.pad(decay[:, 1:], (0, 0, 0, 1))
        reaching = _states(following.flip(1), gradient.flip(1)).flip(1)
        return reaching * functional.pad(states[:, :-1], (0, 0, 1, 0)), reaching


def _states(decay: Tensor, entering: Tensor) -> Tensor:
    return stepwise(decay, entering) if decay.device.type == "cpu" else doubling(decay, entering)


def stepwise(decay: Tensor, entering: Tensor) -> Tensor:
    """One event after the other: least work, which is what counts on a CPU."""
    states = torch.empty_like(entering)
    state = torch.zeros_like(entering[:, 0])
    for place in range(entering.shape[1]):
        state = torch.addcmul(entering[:, place], decay[:, place], state)
        states[:, place] = state
    return states


def doubling(decay: Tensor, entering: Tensor) -> Tensor:
    """In log2(t) rounds (Hillis and Steele 1986): fewest steps one after the other, for a GPU."""
    state, reach = entering, 1
    while reach < state.shape[1]:
        earlier = functional.pad(state[:, :-reach], (0, 0, reach, 0))
        earlier_decay = functional.pad(decay[:, :-reach], (0, 0, reach, 0), value=1.0)
        state, decay = state + decay * earlier, decay * earlier_decay
        reach *= 2
    return state
