"""Reads files of interactions and of items together, and reports on both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from readers.interactions.format_options import InteractionOptions
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.items.item_cells import Image
from readers.items.item_files import read_items
from readers.items.items import ItemOptions
from readers.report import Report
from recstream.v1 import item_pb2


@dataclass(frozen=True, slots=True)
class Files:
    """The rows of all files.

    Attributes:
        interactions: In ascending time. Empty if no file of interactions was read.
        items: One for each item id.
        reports: One for each file, those of items first.
        images: By item id; items without an image are absent.
    """

    interactions: Interactions
    items: list[item_pb2.Item]
    reports: list[Report]
    images: dict[str, Image] = field(default_factory=dict)


def read_files(
    interactions: Sequence[Path],
    items: Sequence[Path] = (),
    *,
    interaction_options: InteractionOptions | None = None,
    item_options: ItemOptions | None = None,
    format_name: str | None = None,
) -> Files:
    """Reads and checks files of interactions and of items.

    Args:
        interactions: Files, which are merged by time. May be empty.
        items: Files. The last row of an item counts. May be empty.
        interaction_options: What the files of interactions do not say about themselves.
        item_options: What the files of items do not say about themselves.
        format_name: A key of `FORMATS`, for all files of interactions. None: detected for each file.

    Raises:
        UnreadableFile: A file as a whole cannot be used. The message names the file, the line and what to do.
    """
    rows, reports = read_items(items, item_options)
    events = Interactions.of([], [], [], np.zeros(0, np.int64))
    if interactions:
        events, more = read_interactions(interactions, interaction_options, format_name)
        reports += more
    images = {row.item.item_id: row.image for row in rows if row.image is not None}
    return Files(events, [row.item for row in rows], reports, images)
