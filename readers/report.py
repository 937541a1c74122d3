"""What was wrong in a file, and what was done about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Finding:
    """One kind of problem.

    Attributes:
        rows: How many rows have it.
        done: What was done with them, such as "left out".
        lines: The first few line numbers; 1 is the first line of the file, a header included.
    """

    rows: int
    done: str
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The report of one file.

    Attributes:
        path: The file.
        rows: Rows in the file.
        kept: Rows that were kept.
        format: The format that it was read as.
        notes: Assumptions about the whole file, one sentence each.
        findings: Problems of rows, by kind.
    """

    path: str
    rows: int = 0
    kept: int = 0
    format: str = ""
    notes: list[str] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)

    EXAMPLES = 5

    def add(self, kind: str, done: str, lines: Sequence[int] | NDArray[np.int64]) -> None:
        """Counts rows with a problem.

        Args:
            kind: What is wrong with them.
            done: What is done with them.
            lines: Their line numbers. If there are none, nothing is reported.
        """
        if len(lines):
            finding = self.findings.setdefault(kind, Finding(0, done))
            finding.rows += len(lines)
            finding.lines.extend(int(line) for line in lines[: self.EXAMPLES - len(finding.lines)])

    def as_dict(self) -> dict[str, object]:
        """The report as JSON values, for `--json`."""
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
