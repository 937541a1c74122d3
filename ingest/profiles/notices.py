"""Counts what is odd about interactions that are taken nevertheless, and names unknown fields in the log.

A producer that sends `rating` instead of `value` is told so. Fields of a later release look the same.
"""

from collections.abc import Sequence

import structlog

from ingest import metrics

log = structlog.get_logger()

_MOST_NAMES = 100


class CountedNotices:
    """Logs each name of a field once in the life of the process, at most a hundred names."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def unknown_fields(self, names: Sequence[str]) -> None:
        """Counts an interaction with unknown fields."""
        metrics.UNKNOWN_FIELDS.inc()
        for name in names:
            if name not in self._logged and len(self._logged) < _MOST_NAMES:
                self._logged.add(name)
                log.warning("unknown_field", field=name, detail="interactions have it; it is passed over")

    def clock_ahead(self) -> None:
        """Counts an interaction whose time was too far ahead."""
        metrics.CLOCKS_AHEAD.inc()
