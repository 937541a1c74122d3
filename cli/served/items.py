"""The catalogue that lists are made of: the items of the files, and those that events alone name."""

from collections.abc import Iterator, Sequence

from catalog.items.item_check import check
from cli.input.files import Files
from cli.input.pictures import pictured
from configuration.errors import CommandError
from readers.report import Report
from recstream.v1 import item_pb2


def catalogue(files: Files, item_ids: Sequence[str]) -> Iterator[item_pb2.Item]:
    """An item for each id, as it would be imported; one of which the files say nothing that a server would take has
    its id alone. Raises CommandError where no server would take that."""
    there = {item.item_id: item for item in files.items if not check(item)}
    items = [there.get(item_id, item_pb2.Item(item_id=item_id)) for item_id in item_ids]
    for item in items:
        if item.item_id not in there and (problems := check(item)):
            raise CommandError(
                f"no server would take the item {item.item_id[:40]!r}: {problems[0][0]} {problems[0][1]}",
                "leave its events out of the files",
            )
    return pictured(items, files.images, Report("pictures"))
