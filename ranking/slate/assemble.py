"""Assembles a selection into a slate."""

from collections.abc import Sequence

import numpy as np

from catalog.in_memory import InMemoryCatalog
from ranking.candidates import Scored, Selection
from ranking.query import HydratedQuery
from ranking.slate.ranked import Ranked
from ranking.sources.fresh import Fresh
from recstream.v1 import slate_pb2


def assemble(
    catalog: InMemoryCatalog,
    query: HydratedQuery,
    slate_id: str,
    scored: Scored,
    selection: Selection,
    reasons: Sequence[slate_pb2.Reason],
) -> Ranked:
    """Makes the list of the k chosen candidates.

    The source of an item in a position for new items is `fresh`. A score that is not finite becomes the lowest finite
    one of the list. A list without items has no id.

    Args:
        catalog: The catalogue, for item ids.
        query: The query.
        slate_id: The id of the slate.
        scored: The candidates and their scores.
        selection: The k chosen candidates.
        reasons: A reason for each of the k.
    """
    candidates, scores, chosen = scored.candidates, scored.scores, selection.chosen
    rows = candidates.rows[chosen]
    slate = slate_pb2.Slate(
        slate_id=slate_id if len(rows) else "",
        profile_revision=query.revision,
        model_version=scores.model_version,
        tier=scores.tier,
        profile_unavailable=query.profile_unavailable,
    )
    values = selection.scores
    finite = np.isfinite(values)
    lowest = values[finite].min() if finite.any() else 0.0
    for row, source, placed_by, score, reason in zip(
        rows.tolist(),
        candidates.sources[chosen].tolist(),
        selection.placed_by,
        np.where(finite, values, lowest).tolist(),
        reasons,
        strict=True,
    ):
        name = Fresh.name if placed_by == slate_pb2.REASON_KIND_FRESH else candidates.names[source]
        slate.items.append(
            slate_pb2.RankedItem(item_id=catalog.item_id(row), score=score, reason=reason, source=name)
        )
    if (
        scores.probabilities is not None
        and scores.predicted_values is not None
        and query.manifest is not None
    ):
        actions = query.manifest.actions
        for item, probabilities, rating, known in zip(
            slate.items,
            scores.probabilities[chosen].tolist(),
            scores.predicted_values[chosen].tolist(),
            finite.tolist(),
            strict=True,
        ):
            if known:
                for action, probability in zip(actions, probabilities, strict=True):
                    item.probabilities[action] = probability  # A third faster than the map's `update`.
                item.predicted_rating = rating
    return Ranked(slate, rows, max(0, scored.allowed - len(rows)), query.rules.until_ms)
