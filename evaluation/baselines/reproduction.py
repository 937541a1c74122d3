"""Whether a reference is what its name says: does it reach the figure that was published for it?"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from evaluation.baselines.fit import close, fit
from evaluation.baselines.interface import Parameters, Row
from evaluation.baselines.trials import Trial, leave_one_out, measured, random_eighths
from evaluation.baselines.tune import Grids, read_grids, tune
from models.data.events import Events

TOLERANCE: Final = 0.05
NOTHING_PUBLISHED: Final = "no published figure on data at hand"

Verdict = Literal["fit", "unfit", "no published figure on data at hand"]


@dataclass(frozen=True, slots=True)
class Published:
    """What somebody reports of a reference on a public data set, in full ranking without what the user had."""

    reference: str
    data: str
    trial: Callable[[Events, int], Trial]
    hr: float
    ndcg: float
    source: str


def _leave_one_out(known: Events, _: int) -> Trial:
    return leave_one_out(known)


PUBLISHED: Final = (
    Published(
        "bpr",
        "ml-100k",
        random_eighths,
        0.7953,
        0.2920,
        "RecBole's quick start (BPR, 64 factors, random 8:1:1 a user, full ranking)",
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
class Fitness:
    """The verdict on a reference, and where there is a figure to compare with: both."""

    reference: str
    verdict: Verdict
    published: Published | None = None
    hr: float | None = None
    ndcg: float | None = None

    def sentence(self) -> str:
        """For a report."""
        if self.published is None:
            return f"{self.reference}: {self.verdict}"
        return (
            f"{self.reference}: {self.verdict}: HR@10 {self.hr:.4f}, NDCG@10 {self.ndcg:.4f} on {self.published.data}; "
            f"published {self.published.hr:.4f}, {self.published.ndcg:.4f} ({self.published.source})"
        )


def fitness(
    reference: str,
    data: str,
    known: Events,
    folder: Path,
    *,
    grids: Grids | None = None,
    seed: int = 0,
    threads: int = 1,
    say: Callable[[str], None] | None = None,
) -> Fitness:
    """Tunes and trains a reference as the figure for it on `data` was made, and compares. A reference that stays
    more than 5 % under the published NDCG@10 or HR@10 is unfit.

    known: that data set. folder: where tuning keeps its measurements. grids: those of grids.yaml; of one
    value a parameter there is nothing to tune.

    Raises ReferenceFailed, EnvironmentMissing.
    """
    published = next((p for p in PUBLISHED if (p.reference, p.data) == (reference, data)), None)
    if published is None:
        return Fitness(reference, NOTHING_PUBLISHED)
    trial = published.trial(known, seed)
    grids = grids or read_grids()

    def on_validation(row: Row) -> float:
        return measured(row, known, trial.validation)[1]

    popular = grids.first("popularity")
    parameters: Parameters = grids.first(reference)
    if any(len(options) > 1 for options in grids.values[reference].values()):
        tuned = tune(
            reference, trial, on_validation, folder, grids=grids, seed=seed, threads=threads, say=say
        )
        parameters = tuned.parameters
    row, _ = fit(reference, trial, parameters, popular=popular, seed=seed, threads=threads, say=say)
    try:
        hr, ndcg = measured(row, known, trial.test)
    finally:
        close(row)
    reached = hr >= (1 - TOLERANCE) * published.hr and ndcg >= (1 - TOLERANCE) * published.ndcg
    return Fitness(reference, "fit" if reached else "unfit", published, hr, ndcg)
