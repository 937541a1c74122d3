"""What a client sees of a list."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from catalog.items.item_fields import ItemFields
from catalog.items.items import Item
from ranking.slate.ranked import ModelOutputs, Ranked
from recstream.v1 import slate_pb2

ANSWER_BYTES: Final = 3 << 20
"""Most bytes of the items of an answer. A client's gRPC library accepts 4 MiB unless it is set up otherwise."""
_SLATE_BYTES: Final = 7 << 19
"""Most bytes of a slate, 3.5 MiB. A slate of 1,000 items has up to 2 MiB without the fields of its items."""


_ENTRY_BYTES: Final = 8
"""The tags and lengths that an item adds, at most."""


@dataclass(frozen=True, slots=True)
class View:
    """What the items of a list carry besides their id, score and reason.

    Attributes:
        key: Bytes that are equal for equal requests.
        item_fields: The fields of the catalogue's items. None: none.
        model_outputs: Whether the model's probabilities and predicted ratings, and the sources, are shown.
    """

    key: bytes = b""
    item_fields: ItemFields | None = None
    model_outputs: bool = False

    @classmethod
    def of(cls, wanted: slate_pb2.ListView) -> Self:
        """Return the view of a request that was checked."""
        return cls(
            key=wanted.SerializeToString(deterministic=True),
            item_fields=ItemFields.of(wanted.item_fields) if wanted.item_fields else None,
            model_outputs=wanted.model_outputs,
        )

    def shown(self, ranked: Ranked, item: Callable[[int], Item]) -> slate_pb2.Slate:
        """Return the slate as the client sees it. From where the items' fields exceed 3 MiB on, or the slate with them
        3.5 MiB, they are left out.

        Args:
            ranked: The list. It is not changed.
            item: Returns the item of a catalogue row, as it is now.
        """
        slate = slate_pb2.Slate()
        slate.CopyFrom(ranked.slate)
        if not self.model_outputs:
            for each in slate.items:
                each.ClearField("source")
        elif ranked.outputs is not None:
            _fill(slate, ranked.outputs)
        if self.item_fields is not None:
            left = min(ANSWER_BYTES, _SLATE_BYTES - slate.ByteSize())
            for row, each in zip(ranked.rows.tolist(), slate.items, strict=True):
                shown = self.item_fields.message(item(row))
                left -= shown.ByteSize() + _ENTRY_BYTES
                if left < 0:
                    break
                each.item.CopyFrom(shown)
        return slate


def _fill(slate: slate_pb2.Slate, outputs: ModelOutputs) -> None:
    for item, probabilities, value in zip(
        slate.items, outputs.probabilities.tolist(), outputs.predicted_values.tolist(), strict=True
    ):
        if not math.isnan(value):
            item.probabilities.update(zip(outputs.actions, probabilities, strict=True))
            item.predicted_rating = value
