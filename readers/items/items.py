"""Tables of items: text, categories, numbers, attributes and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from readers.errors import UnreadableFile
from readers.interactions.format_options import ITEM
from readers.items.item_cells import Image, categories, image, number, parts, words
from readers.items.item_limits import MAX_ID_BYTES, truncate
from readers.report import Report
from readers.tables.table import Layout, Table, read_table
from recstream.v1 import item_pb2

TITLE = ("title", "movie_title", "name", "product_name", "product_type")
DESCRIPTION = ("description", "abstract", "overview", "summary", "text")
# All of these columns that exist are read, in this order. The first gives the main category.
CATEGORIES = (
    "main_category", "categories", "category", "genres", "genre", "class", "department", "product_category",
    "subcategory", "tags",
)  # fmt: skip
NUMBERS = ("price", "year", "release_year", "duration", "length")
IMAGES = (
    "image_bytes", "image", "image_path", "images", "image_url", "imageURLHighRes", "imageURL", "imUrl",
    "img", "picture", "poster", "cover", "thumbnail",
)  # fmt: skip
# Aggregates of behaviour over all time, held-out events included. A model that reads them sees the future.
BEHAVIOUR = frozenset(
    {
        "average_rating", "rating_number", "rating_count", "vote_count", "vote_average", "popularity",
        "salesrank", "sales_rank", "rank", "sales", "views", "clicks", "purchases", "num_reviews",
        "review_count", "reviews_count", "related", "also_buy", "also_view", "also_bought", "also_viewed",
        "buy_after_viewing", "bought_together", "similar_item",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ItemOptions:
    """How to read a file of items.

    Attributes:
        layout: How to read a text file.
        category_separator: What separates categories in one cell. None: `|`, else `,`.
        domain: The domain of all items.
        numbers: Columns that hold numbers. Any further column is an attribute with texts.
        value_separator: What separates several texts or numbers of an attribute in one cell. None: a cell is one value.
            A list in a cell is several values in any case.
        columns: Unusual column names, by item, title, description, categories or image.
    """

    layout: Layout = field(default_factory=Layout)
    category_separator: str | None = None
    domain: str = ""
    numbers: Sequence[str] = NUMBERS
    value_separator: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item, and its image."""

    item: item_pb2.Item
    image: Image | None = None


def drop_attributes(item: item_pb2.Item, *names: str) -> None:
    """Removes these attributes of an item, where it has them."""
    for name in names:
        if name in item.attributes:
            del item.attributes[name]


def read_item_table(path: Path, options: ItemOptions, report: Report) -> dict[str, ItemRow]:
    """Items by id, from a table with an item in each row. The last row of an item counts. Raises UnreadableFile."""
    table = read_table(path, options.layout)
    report.rows += table.rows
    columns = _Columns.of(table, options)
    if left_out := columns.behaviour:
        report.notes.append(f"columns left out, because they aggregate user behaviour: {', '.join(left_out)}")
    cells = {name: table.cells(name) for name in columns.all()}
    found: dict[str, ItemRow] = {}
    missing, repeated, untitled, long = [], [], [], []
    for row in range(table.rows):
        line = row + table.first_line
        item_id = words(cells[columns.item][row])
        if not item_id.strip():
            missing.append(line)
            continue
        if len(item_id.encode()) > MAX_ID_BYTES:
            long.append(line)
            continue
        one = columns.row(cells, row, item_id, options, path.parent)
        for what in truncate(one.item):
            report.add(f"{what} past the limit", "cut", [line])
        if not one.item.title:
            untitled.append(line)
        if item_id in found:
            repeated.append(line)
        found[item_id] = one
    report.add("item missing", "left out", missing)
    report.add(f"item id past {MAX_ID_BYTES} bytes", "left out", long)
    report.add("item repeated", "the last row counts", repeated)
    report.add("title missing", "kept with its id alone", untitled)
    report.kept += len(found)
    return found


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of a table by what they hold."""

    item: str
    title: str | None
    description: str | None
    categories: Sequence[str]
    image: Sequence[str]
    numbers: Sequence[str]
    attributes: Sequence[str]
    behaviour: Sequence[str]

    @classmethod
    def of(cls, table: Table, options: ItemOptions) -> "_Columns":
        def every(what: str, usual: Sequence[str]) -> list[str]:
            named = options.columns[what].split(",") if what in options.columns else usual
            return list(dict.fromkeys(name for n in named if (name := table.find((n,))) is not None))

        def first(what: str, usual: Sequence[str]) -> str | None:
            return next(iter(every(what, usual)), None)

        item = first("item", ITEM)
        if item is None:
            raise UnreadableFile(
                f"{table.path}: no column for the item among {', '.join(table.names)}; "
                "name it with --column item=NAME"
            )
        title, description = first("title", TITLE), first("description", DESCRIPTION)
        grouped, images = every("categories", CATEGORIES), every("image", IMAGES)
        wanted = {name.casefold() for name in options.numbers}
        numbers = [name for name in table.names if name.casefold() in wanted]
        behaviour = [name for name in table.names if name.casefold() in BEHAVIOUR]
        used = {item, title, description, *grouped, *images, *numbers, *behaviour}
        attributes = [name for name in table.names if name not in used]
        return cls(item, title, description, grouped, images, numbers, attributes, behaviour)

    def all(self) -> list[str]:
        """The columns that are read."""
        one = [name for name in (self.title, self.description) if name is not None]
        return [self.item, *one, *self.categories, *self.image, *self.numbers, *self.attributes]

    def row(
        self, cells: Mapping[str, list[object]], row: int, item_id: str, options: ItemOptions, folder: Path
    ) -> ItemRow:
        """One item."""
        item = item_pb2.Item(
            item_id=item_id,
            title=words(cells[self.title][row]) if self.title else "",
            description=words(cells[self.description][row]) if self.description else "",
            domain=options.domain,
        )
        groups = (categories(cells[name][row], options.category_separator) for name in self.categories)
        item.categories.extend(dict.fromkeys(name for group in groups for name in group))
        for name in self.numbers:
            amounts = [number(part) for part in parts(cells[name][row], options.value_separator)]
            if found := [amount for amount in amounts if amount is not None]:
                item.attributes[name].numbers.extend(dict.fromkeys(found))
        for name in self.attributes:
            for key, texts in _facts(name, cells[name][row], options.value_separator):
                # An attribute has texts or numbers. Numbers are what a column was named for.
                if not item.attributes[key].numbers:
                    item.attributes[key].texts[:] = texts
        pictures = (image(cells[name][row], folder) for name in self.image)
        return ItemRow(item, next((picture for picture in pictures if picture is not None), None))


def _facts(name: str, cell: object, separator: str | None) -> list[tuple[str, list[str]]]:
    """Attributes of one cell, with their texts. A dictionary holds one attribute in each entry."""
    entries = cell if isinstance(cell, dict) else {name: cell}
    return [
        (str(key), texts)
        for key, value in entries.items()
        if str(key).strip() and key not in BEHAVIOUR and (texts := _texts(value, separator))
    ]


def _texts(cell: object, separator: str | None) -> list[str]:
    """Distinct texts of a cell."""
    return list(dict.fromkeys(text for part in parts(cell, separator) if (text := words(part))))
