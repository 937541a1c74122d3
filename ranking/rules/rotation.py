"""Rotation: items sink that were shown and not acted on."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from profiles.folding.history import newest_by_item
from profiles.profile import Profile


def shown(profile: Profile, since_ms: int) -> Mapping[str, int]:
    """How often items were shown since the user last acted on them.

    Args:
        profile: The profile, which holds the newest impressions.
        since_ms: Only impressions after this moment count, Unix milliseconds.

    Returns:
        The number of impressions by item id, for items that have any.
    """
    acted = newest_by_item(profile.history)
    counts: dict[str, int] = {}
    for impression in profile.impressions:
        if impression.time_ms <= since_ms:
            continue
        for item_id in impression.item_ids:
            newest = acted.get(item_id)
            if newest is None or impression.time_ms > newest.time_ms:
                counts[item_id] = counts.get(item_id, 0) + 1
    return counts


def rotated(impressions: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
    """Standard deviations that candidates lose, float64 [m], for their numbers of impressions, int64 [m]."""
    loss: NDArray[np.float64] = strength * np.log2(1.0 + impressions)
    return loss
