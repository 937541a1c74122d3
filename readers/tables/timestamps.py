"""Converts timestamps as files write them to Unix milliseconds."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from readers.errors import UnreadableFile
from readers.report import Report
from readers.tables.columns import Cells, numbers

# The magnitude below which a number counts as seconds, milliseconds, ... since 1970: 1e11 seconds is the year 5138,
# and 1e11 milliseconds is 1973.
UNITS = (
    (1e11, "seconds", 1000.0),
    (1e14, "milliseconds", 1.0),
    (1e17, "microseconds", 1e-3),
    (np.inf, "nanoseconds", 1e-6),
)
LATEST_YEAR = 2100
LATEST_MS = datetime(LATEST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000


def read_times(
    cells: Cells, unit: str | None, report: Report, parse: Callable[[str], float] | None = None
) -> NDArray[np.float64]:
    """Timestamps in Unix milliseconds.

    Args:
        cells: Arrow timestamps, numbers, or strings.
        unit: Unit of numbers. None: by their magnitude, the same for all.
        report: Gets a note of what was assumed.
        parse: Turns a string that is not a number into Unix milliseconds. None: ISO 8601.

    Returns:
        float64 [n]; NaN where a cell is not a timestamp.

    Raises:
        UnreadableFile: The unit does not exist.
    """
    if unit is not None and unit not in {name for _, name, _ in UNITS}:
        raise UnreadableFile(
            f"there is no unit of time {unit!r}; use one of {', '.join(u[1] for u in UNITS)}"
        )
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        report.notes.append("times are timestamps of the file, UTC where no zone is given")
        return numbers(cells)
    found = numbers(cells)
    usable = found[np.isfinite(found) & (found > 0)]
    if len(usable) == 0:
        if parse is None:
            report.notes.append("times read as ISO 8601, UTC where no zone is given")
        return numbers(cells, parse or iso_ms)
    if unit is None:
        unit = _unit_of(usable)
        report.notes.append(f"times read as {unit} since 1970, by their magnitude")
    return found * next(factor for _, name, factor in UNITS if name == unit)


def unit_of(cells: Cells) -> str | None:
    """The unit of timestamps that are numbers, by their magnitude; None for other timestamps, or none."""
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return None
    found = numbers(cells)
    usable = found[np.isfinite(found) & (found > 0)]
    return _unit_of(usable) if len(usable) else None


def _unit_of(usable: NDArray[np.float64]) -> str:
    # The median decides for all rows. Outliers are then out of range, and reported.
    return next(name for limit, name, _ in UNITS if float(np.median(usable)) < limit)


def iso_ms(text: str) -> float:
    """ISO 8601 to Unix milliseconds; UTC without a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
