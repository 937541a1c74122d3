"""The results of an evaluation: the table of a protocol, as values and as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.metrics.accuracy import NAMES
from evaluation.metrics.groups import Group, by_history, by_item_age
from evaluation.metrics.intervals import Bootstrap
from evaluation.metrics.measure import AT, Measured
from evaluation.protocols.split import Split
from ranking.settings import DEFAULT_SURFACE

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class MethodResult:
    """A row of the table.

    Attributes:
        name: The method.
        figures: Means over queries, by name.
        intervals: Their 95 % intervals, by the same names.
        coverage, novelty, diversity: See `evaluation.metrics.beyond`.
        histories: Figures by the length of the history.
        ages: Figures by the age of the item.
        product: Whether it is a method of the product.
        above: For a method of the product: the probability that its mean NDCG@10 is above that of each baseline.
        seeds: Number of trainings that the figures are means over.
        note: A remark about the row.
    """

    name: str
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]
    coverage: float
    novelty: float
    diversity: float
    histories: Mapping[str, Group]
    ages: Mapping[str, Group]
    product: bool = True
    above: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 1
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        """JSON values for `--json`."""
        found: dict[str, object] = {"name": self.name, "seeds": self.seeds, **self.figures}
        found |= {
            f"coverage@{AT}": self.coverage, f"novelty@{AT}": self.novelty, f"diversity@{AT}": self.diversity,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "by_history": {name: group.as_dict() for name, group in self.histories.items()},
            "by_item_age": {name: group.as_dict() for name, group in self.ages.items()},
        }  # fmt: skip
        if self.above:
            found["above"] = dict(self.above)
        return found | ({"note": self.note} if self.note else {})


@dataclass(frozen=True, slots=True)
class Result:
    """The table of a protocol.

    Attributes:
        protocol: The protocol.
        surface: The surface whose lists were measured.
        queries, users, items: How many there are.
        excluded: See `evaluation.protocols.split.Excluded`.
        rows: The methods, those of the product first.
    """

    protocol: str
    surface: str
    queries: int
    users: int
    items: int
    excluded: Mapping[str, int]
    rows: Sequence[MethodResult]

    def as_dict(self) -> dict[str, object]:
        """JSON values for `--json`."""
        return {
            "protocol": self.protocol, "surface": self.surface, "queries": self.queries, "users": self.users,
            "items": self.items, "excluded": dict(self.excluded), "methods": [row.as_dict() for row in self.rows],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class MeasuredMethod:
    """A measured method. Its figures are means over `seeds` trainings."""

    measured: Measured
    baseline: bool
    seeds: int = 1
    note: str = ""


def result(
    split: Split,
    rows: Sequence[MeasuredMethod],
    advance: Callable[[], None] = lambda: None,
    *,
    surface: str = DEFAULT_SURFACE,
    seed: int = 0,
) -> Result:
    """Makes the table of the methods that were measured on a split.

    Args:
        split: The split.
        rows: The measured methods.
        advance: Called for each row.
        surface: The surface whose lists the product made.
        seed: Seed of the bootstrap.
    """
    sample = Bootstrap(split.queries.users, seed=seed)
    return Result(
        split.name,
        surface,
        len(split.queries),
        len(set(split.queries.users.tolist())),
        len(split.known.item_ids),
        split.excluded.as_dict(),
        [_row(split, sample, row, rows, advance) for row in rows],
    )


def _row(
    split: Split,
    sample: Bootstrap,
    row: MeasuredMethod,
    rows: Sequence[MeasuredMethod],
    advance: Callable[[], None],
) -> MethodResult:
    found, main = row.measured, f"ndcg@{AT}"
    means, intervals = found.figures.mean(0).tolist(), sample.intervals(found.figures)
    above = {
        other.measured.name: sample.above(found.figure(main), other.measured.figure(main))
        for other in rows
        if other.baseline and not row.baseline
    }
    advance()
    return MethodResult(
        found.name, dict(zip(NAMES, means, strict=True)), dict(zip(NAMES, intervals, strict=True)),
        found.coverage, found.novelty, found.diversity, by_history(split, found), by_item_age(split, found),
        not row.baseline, above, row.seeds, row.note,
    )  # fmt: skip
