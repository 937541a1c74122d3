"""The text of an item that is embedded."""

import html
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b

# In a tag, a letter, a slash or an exclamation mark follows `<`. So `a < b` and `<3` are text.
# Stopping at the next `<` keeps this linear on hostile input.
_TAG = re.compile(r"<(?:/?[a-zA-Z]|!)[^<>]*>")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\s]+")


def plain(text: str) -> str:
    """The text without markup: drops tags, then decodes entities once, then collapses white space.

    Decoding once turns `&amp;lt;` into `&lt;`, and keeps escaped markup as text.
    """
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    return _UNPRINTABLE.sub(" ", text).strip()


def item_text(
    title: str, categories: Iterable[str], attributes: Mapping[str, Iterable[str]], description: str
) -> str:
    """Title, categories, attributes sorted by name, and description as one plain text."""
    parts = [plain(title), ", ".join(filter(None, map(plain, categories)))]
    parts += [f"{plain(name)}: {', '.join(map(plain, texts))}" for name, texts in sorted(attributes.items())]
    parts.append(plain(description))
    return ". ".join(filter(None, parts))


def content_hash(text: str, media: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """BLAKE2b-128 of the text and of media (modality and hash). An item with an unchanged hash need not be embedded
    again. Without media, it is the hash of the text alone."""
    digest = blake2b(text.encode(), digest_size=16)
    for modality, hash_of_content in media:
        # NUL separates the parts, because `plain` leaves none in a text.
        digest.update(b"\0" + modality.encode() + b"\0" + hash_of_content)
    return digest.digest()
