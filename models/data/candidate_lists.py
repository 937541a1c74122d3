"""Lists of candidates for the ranker's training, and how often each stands for others.

A list holds the next event's item, the items nearest to the user, popular ones, and a random sample of the
rest. A sampled item stands for all that could have been drawn in its place: the softmax and the binary loss
count it so many times (Bengio and Senecal 2008), or else the ranker would learn that far items are likely,
because only a target of theirs is ever seen.
"""

import torch
from torch import Tensor


def lists(near: Tensor, popular: Tensor, targets: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Items [b, m] with the target first, and the logarithm of how many each stands for [b, m]: -inf for one
    that is not to be counted. near [b, n]: nearness, -inf for what the user has taken. popular [b, n].

    Half of `count` are the nearest, a sixth the most popular, the rest at random.
    """
    size = near.shape[1]
    free = torch.isfinite(near).scatter(1, targets[:, None], False)
    nearest = near.masked_fill(~free, -torch.inf).topk(min(count // 2, size), dim=1).indices
    left = free.scatter(1, nearest, False)
    liked = popular.masked_fill(~left, -1.0).topk(min(count // 6, size), dim=1).indices
    rest = left.scatter(1, liked, False)
    drawn = (
        torch.rand(near.shape, device=near.device)
        .masked_fill(~rest, -1.0)
        .topk(min(count - count // 2 - count // 6, size), dim=1)
    )
    stands_for = rest.sum(1, keepdim=True) / (drawn.values >= 0).sum(1, keepdim=True).clamp(min=1)
    weights = [
        torch.zeros(len(targets), 1, device=near.device),
        _counted(free.gather(1, nearest)),
        _counted(left.gather(1, liked)),
        _counted(drawn.values >= 0) + torch.log(stands_for.clamp(min=1)),
    ]
    return torch.cat([targets[:, None], nearest, liked, drawn.indices], 1), torch.cat(weights, 1)


def _counted(kept: Tensor) -> Tensor:
    return torch.where(kept, 0.0, -torch.inf)
