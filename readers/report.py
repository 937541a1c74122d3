"""What was found in a file and what was done about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Finding:
    """One kind of trouble: how many rows, what was done with them, and the first few lines (1 is the first
    row of the file, the header included)."""

    rows: int
    done: str
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The account of one file. `rows` is what the file held, `kept` what came of it."""

    path: str
    rows: int = 0
    kept: int = 0
    format: str = ""
    notes: list[str] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)

    EXAMPLES = 5

    def add(self, kind: str, done: str, lines: Sequence[int] | NDArray[np.int64]) -> None:
        """Counts rows with this trouble; nothing where there are none."""
        if len(lines):
            finding = self.findings.setdefault(kind, Finding(0, done))
            finding.rows += len(lines)
            finding.lines.extend(int(line) for line in lines[: self.EXAMPLES - len(finding.lines)])

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "path": self.path,
            "format": self.format,
            "rows": self.rows,
            "kept": self.kept,
            "notes": self.notes,
            "findings": {
                kind: {"rows": f.rows, "done": f.done, "lines": f.lines} for kind, f in self.findings.items()
            },
        }
