"""Whether what is served is what was evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from evaluation.metrics.measure import Measured

FIGURES: Final = ("hr@10", "ndcg@10")
MOST: Final = 0.02


@dataclass(frozen=True, slots=True)
class Agreement:
    """figures: by name, what was served and what was evaluated, means over the same asks. requests: those asks, of
    `held_out` that the protocol has."""

    figures: Mapping[str, tuple[float, float]]
    requests: int
    held_out: int

    @classmethod
    def of(cls, served: Measured, offline: Measured, held_out: int) -> "Agreement":
        """Both of the same asks, of `held_out` that there are."""
        figures = {
            name: (float(served.figure(name).mean()), float(offline.figure(name).mean())) for name in FIGURES
        }
        return cls(figures, len(served.figures), held_out)

    def difference(self, name: str) -> float:
        """As a share of the figure that was evaluated, below 0 where less was served."""
        served, offline = self.figures[name]
        if served == offline:
            return 0.0
        return (served - offline) / offline if offline else float("inf")

    @property
    def agrees(self) -> bool:
        """Whether no figure differs by more than 2 %."""
        return all(abs(self.difference(name)) <= MOST for name in self.figures)

    def sentence(self) -> str:
        """Which figures differ by how much."""
        parts = [
            f"{name.upper()} by {self.difference(name):+.2%}"
            for name in self.figures
            if abs(self.difference(name)) > MOST
        ]
        return f"served and offline figures differ by more than {MOST:.0%}: {', '.join(parts)}"

    def as_dict(self) -> dict[str, object]:
        """For `--json`. A difference that is no number is null."""
        found: dict[str, object] = {
            "requests": self.requests, "held_out": self.held_out, "agrees": self.agrees,
        }  # fmt: skip
        for name, (served, offline) in self.figures.items():
            difference = self.difference(name) if offline or served == offline else None
            found[name] = {"served": served, "offline": offline, "difference": difference}
        return found

    def table(self) -> RenderableType:
        """For a person."""
        table = Table(title="Through the front door", title_justify="left")
        table.add_column("", no_wrap=True)
        for title in ("served", "offline", "difference"):
            table.add_column(title, justify="right")
        for name, (served, offline) in self.figures.items():
            difference = self.difference(name)
            style = "green" if abs(difference) <= MOST else "red"
            table.add_row(name.upper(), f"{served:.4f}", f"{offline:.4f}", Text(f"{difference:+.2%}", style))
        asked = f"{self.requests:,} of {self.held_out:,} lists, each asked of the server as of its moment"
        return Group(table, Text(asked, "dim"))
