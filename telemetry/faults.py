"""Faults of recstream that are held back: each costs one record, one user or one listener, and not the rest."""

import traceback
from typing import Final

import structlog
from prometheus_client import Counter

from telemetry.labels import LabelValues, LabelValuesOf

log = structlog.get_logger()

BOUNDARIES: Final = (
    "catalog-record",
    "catalog-listener",
    "version-listener",
    "surfaces-listener",
    "item-record",
    "model-state",
    "ranking",
)
FAULTS = Counter(
    "recstream_faults",
    "Exceptions that nobody expects, held back where they were raised: faults of recstream",
    ["boundary"],
)
LABEL_VALUES: Final[LabelValuesOf] = {(FAULTS, "boundary"): LabelValues(BOUNDARIES)}
for _boundary in BOUNDARIES:
    FAULTS.labels(_boundary)


def hold_back(boundary: str, error: BaseException, **context: object) -> None:
    """Counts and logs an exception that is not raised any further.

    Args:
        boundary: Where it is held back, one of `BOUNDARIES`.
        error: The exception.
        context: What it was about, for the log.
    """
    FAULTS.labels(boundary).inc()
    # As plain text. A renderer that draws tracebacks, arrays and all, takes longer than a list of items may.
    trace = "".join(traceback.format_exception(error))
    log.error("fault_held_back", boundary=boundary, cause=repr(error), trace=trace, **context)
