"""Computes item vectors with the bundle's graphs, as the catalogue worker does."""

from collections.abc import Callable, Sequence

import numpy as np

from inference.bundle.bundle import Bundle
from inference.bundle.graphs import ITEM_ENCODER, modality_graph
from inference.bundle.modalities import Modality, Prepared
from inference.errors import MediaUnreadable
from models.data.events import Floats, ItemText
from models.export.local_graphs import LocalGraphs

_BATCH = 16


def item_vectors(
    bundle: Bundle,
    graphs: LocalGraphs,
    item_ids: Sequence[str],
    items: Sequence[ItemText],
    advance: Callable[[int], None],
) -> Floats:
    """Computes the vectors of items.

    Args:
        bundle: Prepares texts and media.
        graphs: The bundle's graphs.
        item_ids: The items.
        items: Their texts and media. An id that is missing here has an empty text.
        advance: Called with the number of items of each batch.

    Returns:
        float32 [n, d], in the order of `item_ids`.
    """
    known = {item.item_id: item for item in items}
    there = [known.get(item_id, ItemText(item_id, "")) for item_id in item_ids]
    found = np.zeros((len(there), bundle.manifest.width), np.float32)
    # Texts of similar length share a batch, which saves padding and time.
    order = sorted(range(len(there)), key=lambda place: len(there[place].text))
    for start in range(0, len(order), _BATCH):
        positions = order[start : start + _BATCH]
        part = [there[place] for place in positions]
        tokens = bundle.tokens([item.item_id for item in part], [item.text for item in part])
        found[positions] = graphs.run(ITEM_ENCODER, tokens.ids, tokens.mask, tokens.item_index[:, None])[0]
        advance(len(positions))
    for modality in bundle.manifest.modalities:
        for place, item in enumerate(there):
            if contents := _contents(item, modality):
                stacked = np.stack(contents)[None]
                found[place] = graphs.run(modality_graph(modality), found[place][None], stacked)[0][0]
    return found


def _contents(item: ItemText, modality: Modality) -> list[Prepared]:
    prepared = []
    for media in item.media:
        if media.modality == modality.name:
            try:
                prepared.append(modality.prepare(media.read()))
            except MediaUnreadable:  # As in serving, the item does without it.
                continue
    return prepared
