"""Pictures of items that files name: those that lie on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from readers.items.item_cells import Image
from readers.report import Report
from recstream.v1 import item_pb2

MAX_BYTES: Final = 524_288
"""What the catalogue takes as one content."""

_DONE: Final = "item sent without it"


def local_image(image: Image | None) -> tuple[bytes | Path, ...]:
    """The picture's bytes, or its file; nothing where there is none here. Addresses are not followed."""
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
    """The items, one after another, with their pictures: copies, so that no more than one is held at a time. What
    cannot travel is counted in the report, by the item's place from 1."""
    for place, item in enumerate(items, start=1):
        image = images.get(item.item_id)
        if image is None:
            yield item
            continue
        content, trouble = _content(image)
        if trouble:
            report.add(trouble, _DONE, [place])
            yield item
        else:
            whole = item_pb2.Item()
            whole.CopyFrom(item)
            whole.media.add(modality="image", content=content)
            yield whole


def _content(image: Image) -> tuple[bytes, str]:
    """The picture, or what is wrong with it."""
    if not image.content and ("://" in image.reference or image.reference.startswith("data:")):
        return b"", "picture at an address"
    try:
        content = b"".join(one if isinstance(one, bytes) else one.read_bytes() for one in local_image(image))
    except OSError:
        content = b""
    if not content:
        return b"", "picture's file is not there"
    if len(content) > MAX_BYTES:
        return b"", "picture past 512 KiB"
    return content, ""
