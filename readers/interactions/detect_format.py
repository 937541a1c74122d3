"""Detects the format of a file of interactions from its first lines."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from readers.errors import UnreadableFile
from readers.formats import baskets, movielens, sessions
from readers.interactions.format_options import ACTION, ITEM, USER
from readers.tables.content import first_lines, suffix
from readers.tables.text import SEPARATORS

MIND = re.compile(r"(?:\d+\t)?\S+\t\d{1,2}/\d{1,2}/\d{4} [^\t]*\t[^\t]*\t[^\t]*")


def detect_format(path: Path) -> str:
    """The name of a format; `events` if no other fits. Raises UnreadableFile."""
    if suffix(path) == ".parquet":
        return _by_names(_parquet_names(path))
    lines = first_lines(path)
    first = lines[0] if lines else ""
    if first.lstrip().startswith("{"):
        return _by_names(_keys(first))
    if movielens.LONG.fullmatch(first) or movielens.TABS.fullmatch(first):
        return "movielens"
    if MIND.fullmatch(first):
        return "mind"
    if sessions.FIRST.fullmatch(first) and first.count(",") in (3, 4):
        return "sessions"
    if _sequences(lines):
        return "sequences"
    separator = SEPARATORS.get(suffix(path), ",")
    return _by_names([name.strip('"').split(":", 1)[0] for name in first.split(separator)])


def _parquet_names(path: Path) -> list[str]:
    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFile(f"{path}: not a Parquet file: {error}") from error


def _by_names(names: list[str]) -> str:
    found = {name.casefold() for name in names}

    def has(*wanted: str) -> bool:
        return {name.casefold() for name in wanted} <= found

    if has("reviewerID", "asin") or has("user_id", "parent_asin"):
        return "reviews"
    if has("visitorid", "itemid", "event"):
        return "retailrocket"
    if has("userId", "movieId"):
        return "movielens"
    some_order = any(has(name) for name in baskets.ORDER)
    acted = any(has(name) for name in ACTION)
    if some_order and not acted and (any(has(name) for name in ITEM) or has(baskets.NUMBER)):
        return "baskets"
    if any(has(n) for n in ("session_id", "sessionId")) and not any(has(n) for n in USER[:4]):
        return "sessions"
    return "events"


def _keys(line: str) -> list[str]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return re.findall(r"['\"](\w+)['\"]\s*:", line)
    return list(row) if isinstance(row, dict) else []


def _sequences(lines: list[str]) -> bool:
    """Whether the lines are words between spaces, and differ in their number of words."""
    if len(lines) < 2 or any(mark in line for line in lines for mark in ",\t;{"):
        return False
    lengths = [len(line.split()) for line in lines]
    return len(set(lengths)) > 1 and min(lengths) >= 1 and max(lengths) > 2
