"""Checks that a baseline is what its name says: it must reach the figures that were published for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from evaluation.baselines.fit import close, fit
from evaluation.baselines.interface import Method, Parameters
from evaluation.baselines.published import PublishedSplit, leave_one_out, measured, random_eighths
from evaluation.baselines.tune import Grids, read_grids, tune
from models.data.events import Events

TOLERANCE: Final = 0.05
NOTHING_PUBLISHED: Final = "no published figure on data at hand"

Verdict = Literal["reproduced", "not reproduced", "no published figure on data at hand"]


@dataclass(frozen=True, slots=True)
class Published:
    """Published figures of a baseline on a public data set, in full ranking without the items of the history."""

    baseline: str
    data: str
    make_split: Callable[[Events, int], PublishedSplit]
    hr: float
    ndcg: float
    source: str


def _leave_one_out(known: Events, _: int) -> PublishedSplit:
    return leave_one_out(known)


PUBLISHED: Final = (
    Published(
        "bpr",
        "ml-100k",
        random_eighths,
        0.7953,
        0.2920,
        "RecBole's quick start (BPR, 64 factors, random 8:1:1 per user, full ranking)",
    ),
    Published(
        "sasrec",
        "toys",
        _leave_one_out,
        0.0675,
        0.0374,
        "S3-Rec's table of full rankings (Zhou et al. 2020, arXiv:2008.07873)",
    ),
    Published(
        "sasrec",
        "sports",
        _leave_one_out,
        0.0350,
        0.0192,
        "S3-Rec's table of full rankings (Zhou et al. 2020, arXiv:2008.07873)",
    ),
)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The verdict on a baseline, with the published and the measured figures if there are published ones."""

    baseline: str
    verdict: Verdict
    published: Published | None = None
    hr: float | None = None
    ndcg: float | None = None

    def sentence(self) -> str:
        """The verdict in one sentence, for a report."""
        if self.published is None:
            return f"{self.baseline}: {self.verdict}"
        return (
            f"{self.baseline}: {self.verdict}: HR@10 {self.hr:.4f}, NDCG@10 {self.ndcg:.4f} on {self.published.data}; "
            f"published {self.published.hr:.4f}, {self.published.ndcg:.4f} ({self.published.source})"
        )


def check_reproduction(
    baseline: str,
    data: str,
    known: Events,
    folder: Path,
    *,
    grids: Grids | None = None,
    seed: int = 0,
    threads: int = 1,
    say: Callable[[str], None] | None = None,
) -> Reproduction:
    """Tunes and trains a baseline by the protocol of its published figures, and compares.

    A baseline that is more than 5 % below the published NDCG@10 or HR@10 is not reproduced.

    Args:
        baseline: The baseline.
        data: Name of the data set.
        known: The events of that data set.
        folder: Keeps the measurements of tuning.
        grids: Values to tune over. None: those of grids.yaml. A grid with one value per parameter needs no tuning.
        seed: Seed of the split and of the training.
        threads: Threads of a library's process.
        say: Called with lines of progress.

    Raises:
        BaselineFailed: The baseline could not be fitted.
        EnvironmentMissing: The environment of a library's baseline is not installed.
    """
    published = next((p for p in PUBLISHED if (p.baseline, p.data) == (baseline, data)), None)
    if published is None:
        return Reproduction(baseline, NOTHING_PUBLISHED)
    make_split = published.make_split(known, seed)
    grids = grids or read_grids()

    def on_validation(row: Method) -> float:
        return measured(row, known, make_split.validation)[1]

    popular = grids.first("popularity")
    parameters: Parameters = grids.first(baseline)
    if any(len(options) > 1 for options in grids.values[baseline].values()):
        tuned = tune(
            baseline, make_split, on_validation, folder, grids=grids, seed=seed, threads=threads, say=say
        )
        parameters = tuned.parameters
    row, _ = fit(baseline, make_split, parameters, popular=popular, seed=seed, threads=threads, say=say)
    try:
        hr, ndcg = measured(row, known, make_split.test)
    finally:
        close(row)
    reached = hr >= (1 - TOLERANCE) * published.hr and ndcg >= (1 - TOLERANCE) * published.ndcg
    return Reproduction(baseline, "reproduced" if reached else "not reproduced", published, hr, ndcg)
