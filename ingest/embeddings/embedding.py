"""Item vectors from the model. An item that the model cannot embed does not hold up the others."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from catalog.items.items import Item
from inference.bundle.bundle import Bundle
from inference.bundle.modalities import Modality, Prepared
from inference.errors import MediaUnreadable
from inference.model import Floats, Model, ModelUnavailable, NotFinite
from ingest import metrics
from telemetry.faults import hold_back

log = structlog.get_logger()

# Prepared images are large, so items are prepared in groups of this size.
_PREPARED_ITEMS = 8


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors [d] by item id, and why each of the other items has none."""

    vectors: dict[str, Floats]
    failures: dict[str, str]


class Embedding:
    """Embeds items under one bundle's version.

    Args:
        model: Encodes texts and media.
        bundle: The tokenizer and the modalities of the version.
        timeout: The longest time for one batch, in seconds.
    """

    def __init__(self, model: Model, bundle: Bundle, timeout: float) -> None:
        self._model = model
        self._bundle = bundle
        self._timeout = timeout
        self.text_attributes: Final = frozenset(bundle.manifest.text_attributes)
        """The attributes whose texts the model reads."""

    async def __call__(self, items: Sequence[Item]) -> Embedded:
        """Embeds all items in one call. An item whose vector is not finite fails by itself.

        Raises:
            ModelUnavailable: The model does not answer.
        """
        if not items:
            return Embedded({}, {})
        try:
            return Embedded(await self._encode(items), {})
        except NotFinite as error:
            bad = {row for row in error.rows if row < len(items)}
            if not bad:
                raise
            failures = {items[row].item_id: "its vector is not finite" for row in bad}
            rest = await self([item for row, item in enumerate(items) if row not in bad])
            return Embedded(rest.vectors, failures | rest.failures)

    async def one_by_one(self, items: Sequence[Item]) -> Embedded:
        """Embeds each item in a call of its own, for a batch that keeps failing although the model is ready, or that
        has an item which meets a fault of ours.

        Raises:
            ModelUnavailable: The model is no longer ready.
        """
        found = Embedded({}, {})
        for item in items:
            try:
                one = await self([item])
            except ModelUnavailable as error:
                if not await self.ready():
                    raise
                one = Embedded({}, {item.item_id: f"the model gives no vector for it: {error}"})
            except Exception as error:
                hold_back("item-record", error, item_id=item.item_id)
                one = Embedded({}, {item.item_id: f"a fault of recstream: {error!r}"})
            found.vectors.update(one.vectors)
            found.failures.update(one.failures)
        return found

    async def ready(self) -> bool:
        """Whether the model serves the bundle's version."""
        return await self._model.ready(self._bundle.manifest.version)

    async def _encode(self, items: Sequence[Item]) -> dict[str, Floats]:
        ids = [item.item_id for item in items]
        texts = [item.text(self.text_attributes) for item in items]
        # The tokenizer takes milliseconds for a long text, and releases the interpreter's lock.
        tokens = await asyncio.to_thread(self._bundle.tokens, ids, texts)
        until = time.monotonic() + self._timeout
        vectors = await self._model.encode_items(self._bundle.manifest.version, tokens, timeout=self._timeout)
        for modality in self._bundle.manifest.modalities:
            vectors = await self._add(modality, items, vectors, until)
        return dict(zip(ids, vectors, strict=True))

    async def _add(self, modality: Modality, items: Sequence[Item], vectors: Floats, until: float) -> Floats:
        """Adds the modality to the vectors of the items that have media of it. Unreadable media are ignored."""
        vectors = vectors.copy()
        having = [
            row for row, item in enumerate(items) if any(m.modality == modality.name for m in item.media)
        ]
        for start in range(0, len(having), _PREPARED_ITEMS):
            part = having[start : start + _PREPARED_ITEMS]
            prepared = await asyncio.to_thread(
                lambda rows: [_prepare(modality, items[r]) for r in rows], part
            )
            alike: dict[int, list[tuple[int, Prepared]]] = {}
            for row, contents in zip(part, prepared, strict=True):
                if contents is not None:
                    alike.setdefault(len(contents), []).append((row, contents))
            for group in alike.values():
                rows = [row for row, _ in group]
                try:
                    vectors[rows] = await self._model.add_modality(
                        self._bundle.manifest.version,
                        modality.name,
                        vectors[rows],
                        np.stack([contents for _, contents in group]),
                        timeout=until - time.monotonic(),
                    )
                except NotFinite as error:
                    raise NotFinite(
                        str(error), tuple(rows[row] for row in error.rows if row < len(rows))
                    ) from error
        return vectors


def _prepare(modality: Modality, item: Item) -> Prepared | None:
    """Returns the item's prepared media of the modality, [n, ...]. None if none of them can be read."""
    found = []
    for media in item.media:
        if media.modality == modality.name and media.content:
            try:
                found.append(modality.prepare(media.content))
            except MediaUnreadable as error:
                metrics.MEDIA_UNREADABLE.inc()
                log.warning(
                    "media_unreadable", item_id=item.item_id, modality=modality.name, cause=str(error)
                )
    return np.stack(found) if found else None
