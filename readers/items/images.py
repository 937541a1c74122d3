"""Loads the images that item files name, if they are on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from readers.items.item_cells import Image
from readers.report import Report
from recstream.v1 import item_pb2

MAX_BYTES: Final = 524_288
"""Size of the largest image that the catalogue takes."""

_DONE: Final = "item sent without it"


def local_image(image: Image | None) -> tuple[bytes | Path, ...]:
    """The image as bytes or as a file; empty if it is not on this machine. URLs are not fetched."""
    if image is None:
        return ()
    if image.content:
        return (image.content,)
    try:
        path = Path(image.reference)
        return (path,) if image.reference and path.is_file() else ()
    except (OSError, ValueError):  # longer than a path can be, or with a NUL
        return ()


def with_images(
    items: Sequence[item_pb2.Item], images: Mapping[str, Image], report: Report
) -> Iterator[item_pb2.Item]:
    """Adds images to items, one item at a time.

    Args:
        items: They are not changed. An item with an image is a copy, so that one image is in memory at a time.
        images: By item id.
        report: Gets the images that cannot be sent, by the position of the item, from 1.
    """
    for position, item in enumerate(items, start=1):
        image = images.get(item.item_id)
        if image is None:
            yield item
            continue
        content, problem = _content(image)
        if problem:
            report.add(problem, _DONE, [position])
            yield item
        else:
            whole = item_pb2.Item()
            whole.CopyFrom(item)
            whole.media.add(modality="image", content=content)
            yield whole


def _content(image: Image) -> tuple[bytes, str]:
    """The bytes of the image, and what is wrong with it; one of them is empty."""
    if not image.content and ("://" in image.reference or image.reference.startswith("data:")):
        return b"", "image at a URL"
    try:
        content = b"".join(one if isinstance(one, bytes) else one.read_bytes() for one in local_image(image))
    except OSError:
        content = b""
    if not content:
        return b"", "image file is missing"
    if len(content) > MAX_BYTES:
        return b"", "image larger than 512 KiB"
    return content, ""
