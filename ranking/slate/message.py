"""From chosen candidates to the message."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ranking.query import Query
from ranking.scorers.scores import Scores
from recstream.v1 import slate_pb2


def build(
    query: Query,
    slate_id: str,
    ids: Sequence[str],
    sources: Sequence[str],
    reasons: Sequence[slate_pb2.Reason],
    scores: Scores,
    chosen: NDArray[np.int64],
) -> slate_pb2.Slate:
    """The slate of k items. ids, sources, reasons are those of the listed items, in order; `chosen` [k]
    are their places among the scored candidates. A score that is not finite is shown as the list's lowest
    finite one."""
    slate = slate_pb2.Slate(
        slate_id=slate_id if ids else "",
        profile_revision=query.revision,
        model_version=scores.model_version,
        tier=scores.tier,
        profile_unavailable=query.unavailable,
    )
    values = scores.values[chosen]
    finite = values[np.isfinite(values)]
    shown = np.where(np.isfinite(values), values, finite.min() if len(finite) else 0.0).tolist()
    for item_id, source, reason, score in zip(ids, sources, reasons, shown, strict=True):
        slate.items.append(slate_pb2.RankedItem(item_id=item_id, score=score, reason=reason, source=source))
    if scores.ranking is not None and query.manifest is not None:
        names = query.manifest.actions
        probabilities = scores.ranking.probabilities[chosen].tolist()
        ratings = scores.ranking.predicted_value[chosen]
        for item, row, rating, known in zip(
            slate.items, probabilities, ratings.tolist(), np.isfinite(values).tolist(), strict=True
        ):
            if known:
                item.probabilities.update(zip(names, row, strict=True))
                item.predicted_rating = rating
    return slate
