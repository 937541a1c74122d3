"""Candidate lists for fitting the ranking mixture, with importance weights.

A list holds the target, the items nearest to the user, popular items, and a random sample of the rest. A sampled item
represents all items that could have been drawn in its place, so the softmax and the calibration count it that many
times (Bengio and Senecal 2008, importance sampling). Otherwise the ranker would learn that distant items are likely,
because it would see them only as targets.
"""

import torch
from torch import Tensor


def sample_candidates(
    logits: Tensor, popularity: Tensor, targets: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Draws a list for each target: half of `count` nearest, a sixth most popular, the rest at random.

    Args:
        logits: next-item logits [b, n]; -inf for items that the user has consumed.
        popularity: [b, n].
        targets: items [b].
        count: number of candidates in a list, besides the target.

    Returns:
        Items [b, m], the target first, and log weights [b, m]: the logarithm of how many items each represents; -inf
        for an item that does not count.
    """
    items = logits.shape[1]
    free = torch.isfinite(logits).scatter(1, targets[:, None], False)
    nearest = logits.masked_fill(~free, -torch.inf).topk(min(count // 2, items), dim=1).indices
    not_nearest = free.scatter(1, nearest, False)
    popular = popularity.masked_fill(~not_nearest, -1.0).topk(min(count // 6, items), dim=1).indices
    rest = not_nearest.scatter(1, popular, False)
    drawn = (
        torch.rand(logits.shape, device=logits.device)
        .masked_fill(~rest, -1.0)
        .topk(min(count - count // 2 - count // 6, items), dim=1)
    )
    items_per_draw = rest.sum(1, keepdim=True) / (drawn.values >= 0).sum(1, keepdim=True).clamp(min=1)
    log_weights = [
        torch.zeros(len(targets), 1, device=logits.device),
        _log_mask(free.gather(1, nearest)),
        _log_mask(not_nearest.gather(1, popular)),
        _log_mask(drawn.values >= 0) + torch.log(items_per_draw.clamp(min=1)),
    ]
    return torch.cat([targets[:, None], nearest, popular, drawn.indices], 1), torch.cat(log_weights, 1)


def _log_mask(mask: Tensor) -> Tensor:
    return torch.where(mask, 0.0, -torch.inf)
