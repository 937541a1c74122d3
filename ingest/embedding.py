"""Vectors of items from the model, past any single item that the model cannot take."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.items import Item
from inference.bundle import Bundle
from inference.model import Floats, Model, ModelUnavailable, NotFinite


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors [d] by item id, and why the others have none."""

    vectors: dict[str, Floats]
    failures: dict[str, str]


class Embedding:
    """Embeds items under one bundle's version. `timeout` is in seconds, for one call."""

    def __init__(self, model: Model, bundle: Bundle, timeout: float) -> None:
        self._model = model
        self._bundle = bundle
        self._timeout = timeout

    async def __call__(self, items: Sequence[Item]) -> Embedded:
        """All in one call; items whose numbers are not finite fail by themselves.

        Raises ModelUnavailable when there is no answer for any.
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
        """Each by itself, for when a batch fails again and again though the model is ready.

        Raises ModelUnavailable when the model stops being ready.
        """
        found = Embedded({}, {})
        for item in items:
            try:
                one = await self([item])
            except ModelUnavailable as error:
                if not await self.ready():
                    raise
                one = Embedded({}, {item.item_id: f"the model gives no vector for it: {error}"})
            found.vectors.update(one.vectors)
            found.failures.update(one.failures)
        return found

    async def ready(self) -> bool:
        """Whether the model answers under the bundle's version."""
        return await self._model.ready(self._bundle.manifest.version)

    async def _encode(self, items: Sequence[Item]) -> dict[str, Floats]:
        ids = [item.item_id for item in items]
        texts = [item.text() for item in items]
        # The tokenizer works outside the interpreter's lock, and long texts take it milliseconds each.
        tokens = await asyncio.to_thread(self._bundle.tokens, ids, texts)
        vectors = await self._model.encode_items(self._bundle.manifest.version, tokens, timeout=self._timeout)
        return dict(zip(ids, vectors, strict=True))
