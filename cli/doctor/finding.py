"""One thing that the doctor looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK; NOTE: works without, or comes by itself; MISSING: `recstream up` needs it."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and what to do where it is not in order."""

    what: str
    level: Level
    found: str
    to_do: str = ""
