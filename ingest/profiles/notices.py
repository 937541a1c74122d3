"""Counts what is odd about interactions that are taken nevertheless, and names it in the log.

A producer that sends `rating` instead of `value` is told so. Fields of a later release look the same.
"""

from collections.abc import Sequence

import structlog

from ingest import metrics
from telemetry.unknown_fields import note

log = structlog.get_logger()

_MOST_NAMES = 100
_NAME = 40


class CountedNotices:
    """Logs each name of an action once in the life of the process, at most a hundred names."""

    def __init__(self) -> None:
        self._actions: set[str] = set()

    def unknown_fields(self, names: Sequence[str]) -> None:
        """Counts an interaction with unknown fields."""
        note("Interaction", names)

    def unknown_action(self, action: str) -> None:
        """Counts a record with an action that the settings do not have."""
        metrics.RECORDS_OF["unknown_action"].inc()
        name = action[:_NAME]
        if name not in self._actions and len(self._actions) < _MOST_NAMES:
            self._actions.add(name)
            log.warning(
                "unknown_action", action=name, detail="profiles.actions lacks it; such events count nothing"
            )

    def clock_ahead(self) -> None:
        """Counts an interaction whose time was too far ahead."""
        metrics.CLOCKS_AHEAD.inc()
