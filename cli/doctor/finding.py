"""The result of one check."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK; NOTE: `recstream up` works without it, or provides it; MISSING: `recstream up` needs it."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, what was found, and what to do about it if it is not ok."""

    what: str
    level: Level
    found: str
    to_do: str = ""
