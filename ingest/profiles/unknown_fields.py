"""Counts interactions with fields that the contract does not have, and names the fields in the log.

A producer that sends `rating` instead of `value` is told so. Fields of a later release look the same.
"""

from collections.abc import Sequence

import structlog

from ingest import metrics

log = structlog.get_logger()

_MOST_NAMES = 100


class UnknownFields:
    """Logs each name once in the life of the process, at most a hundred names."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def __call__(self, names: Sequence[str]) -> None:
        """Takes the names of one interaction's unknown fields."""
        metrics.UNKNOWN_FIELDS.inc()
        for name in names:
            if name not in self._logged and len(self._logged) < _MOST_NAMES:
                self._logged.add(name)
                log.warning("unknown_field", field=name, detail="interactions have it; it is passed over")
