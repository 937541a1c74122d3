"""Truncates items to the limits of the contract. An item past a limit would be refused as a whole."""

from recstream.v1 import item_pb2

MAX_ID_BYTES = 256
MAX_TITLE_BYTES = 4096
MAX_DESCRIPTION_BYTES = 32_768
MAX_ENTRIES = 64
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
    if names[:MAX_ENTRIES] != list(item.categories):
        del item.categories[:]
        item.categories.extend(names[:MAX_ENTRIES])
        cut.append("categories")
    attributes = {
        truncated(name, MAX_NAME_BYTES): truncated(value, MAX_VALUE_BYTES)
        for name, value in list(item.attributes.items())[:MAX_ENTRIES]
    }
    if attributes != dict(item.attributes):
        item.attributes.clear()
        item.attributes.update(attributes)
        cut.append("attributes")
    return cut


def truncated(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut between two characters."""
    if len(text) * 4 <= limit:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return text if len(raw) <= limit else raw[:limit].decode("utf-8", "ignore")
