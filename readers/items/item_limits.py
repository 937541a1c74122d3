"""Truncates items to the limits of the contract. An item past a limit would be refused as a whole."""

from recstream.v1 import item_pb2

MAX_ID_BYTES = 256
MAX_TITLE_BYTES = 4096
MAX_DESCRIPTION_BYTES = 32_768
MAX_CATEGORIES = 64
MAX_ATTRIBUTES = 128
MAX_VALUES = 64
MAX_ATTRIBUTES_BYTES = 131_072
MAX_NAME_BYTES = 256
MAX_VALUE_BYTES = 1024


def truncate(item: item_pb2.Item) -> list[str]:
    """Truncates the item in place. Returns the names of the fields that were truncated."""
    cut: list[str] = []
    for name, limit in (("title", MAX_TITLE_BYTES), ("description", MAX_DESCRIPTION_BYTES)):
        text = getattr(item, name)
        if (short := truncated(text, limit)) != text:
            setattr(item, name, short)
            cut.append(name)
    names = [truncated(name, MAX_NAME_BYTES) for name in item.categories]
    if names[:MAX_CATEGORIES] != list(item.categories):
        del item.categories[:]
        item.categories.extend(names[:MAX_CATEGORIES])
        cut.append("categories")
    if _truncate_attributes(item):
        cut.append("attributes")
    return cut


def _truncate_attributes(item: item_pb2.Item) -> bool:
    """Keeps the first attributes by name, and the first values of each. Returns whether any was truncated."""
    kept: dict[str, item_pb2.Attribute] = {}
    size = 0
    for name, attribute in sorted(item.attributes.items())[:MAX_ATTRIBUTES]:
        short = item_pb2.Attribute(
            texts=[truncated(text, MAX_VALUE_BYTES) for text in attribute.texts[:MAX_VALUES]],
            numbers=attribute.numbers[:MAX_VALUES],
        )
        short_name = truncated(name, MAX_NAME_BYTES)
        size += len(short_name.encode()) + short.ByteSize()
        if size > MAX_ATTRIBUTES_BYTES:
            break
        kept[short_name] = short
    if kept == dict(item.attributes):
        return False
    item.attributes.clear()
    for name, attribute in kept.items():
        item.attributes[name].CopyFrom(attribute)
    return True


def truncated(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between two characters."""
    if len(text) * 4 <= limit:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return text if len(raw) <= limit else raw[:limit].decode("utf-8", "ignore")
