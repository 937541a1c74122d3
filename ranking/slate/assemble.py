"""Assembles a selection into a slate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.in_memory import InMemoryCatalog
from ranking.candidates import Scored, Scores, Selection
from ranking.query import HydratedQuery
from ranking.slate.ranked import ModelOutputs, Ranked
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
    values = selection.scores
    finite = np.isfinite(values)
    lowest = values[finite].min() if finite.any() else 0.0
    sources = (
        Fresh.name if placed_by == slate_pb2.REASON_KIND_FRESH else candidates.names[source]
        for source, placed_by in zip(candidates.sources[chosen].tolist(), selection.placed_by, strict=True)
    )
    items = zip(rows.tolist(), sources, np.where(finite, values, lowest).tolist(), reasons, strict=True)
    slate = slate_pb2.Slate(
        slate_id=slate_id if len(rows) else "",
        profile_revision=query.revision,
        model_version=scores.model_version,
        tier=scores.tier,
        profile_unavailable=query.profile_unavailable,
        # As mappings: a message for each item would be copied into the slate, which takes three times as long.
        items=[
            {"item_id": catalog.item_id(row), "score": score, "reason": reason, "source": source}  # type: ignore[misc]  # the stubs do not know of mappings
            for row, source, score, reason in items
        ],
    )
    remaining = max(0, scored.allowed - len(rows))
    outputs = _outputs(query, scores, chosen, finite)
    return Ranked(slate, rows, remaining, query.rules.until_ms, outputs, query.surfaces_version)


def _outputs(
    query: HydratedQuery, scores: Scores, chosen: NDArray[np.int64], finite: NDArray[np.bool_]
) -> ModelOutputs | None:
    if scores.probabilities is None or scores.predicted_values is None or query.manifest is None:
        return None
    probabilities, values = scores.probabilities[chosen], scores.predicted_values[chosen]
    probabilities[~finite] = values[~finite] = np.nan
    return ModelOutputs(query.manifest.actions, probabilities, values)
