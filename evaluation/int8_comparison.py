"""Compares an int8 bundle with the float32 bundle that it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.progress import Progress

from evaluation.data import Data
from evaluation.errors import TrainedOnOther
from evaluation.methods.bundle_model import bundle_model
from evaluation.methods.lists import ListSettings, RankedLists
from evaluation.methods.product import INT8
from evaluation.protocols.split import Split
from evaluation.report.results import MeasuredMethod
from evaluation.run import measure_methods
from inference.bundle.bundle import Bundle
from models.errors import Int8Refused
from models.export.compression.timing import Cost, costs

MOST_LOSS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Comparison:
    """What both bundles reach on the same queries, and what they cost.

    Attributes:
        protocol: Name of the protocol.
        queries: Number of queries.
        unseen: Whether the model was trained without the targets. If not, the comparison still is of one model in two
            precisions.
        ndcg_float32: Mean NDCG@10 of the float32 bundle.
        ndcg_int8: Mean NDCG@10 of the int8 bundle.
        float32: Cost of each graph in float32.
        int8: Cost of each graph in int8.
    """

    protocol: str
    queries: int
    unseen: bool
    ndcg_float32: float
    ndcg_int8: float
    float32: dict[str, Cost]
    int8: dict[str, Cost]

    @property
    def loss(self) -> float:
        """Share of the float32 bundle's NDCG@10 that int8 loses; negative if it gains."""
        return loss(self.ndcg_float32, self.ndcg_int8)

    def metrics(self) -> dict[str, float]:
        """Metrics for the int8 bundle's manifest."""
        return {"ndcg@10_float32": self.ndcg_float32, "ndcg@10_int8": self.ndcg_int8, "int8_loss": self.loss}


def loss(float32: float, int8: float) -> float:
    """Share of the float32 figure that int8 loses."""
    return 1 - int8 / float32 if float32 > 0 else 0.0


def refusal(float32: float, int8: float) -> str:
    """Why int8 with this NDCG@10 is refused; empty if it is not."""
    lost = loss(float32, int8)
    if lost <= MOST_LOSS:
        return ""
    return (
        f"int8 loses {lost:.1%} of NDCG@10 ({float32:.4f} in float32, {int8:.4f} in int8); "
        f"at most {MOST_LOSS:.0%} is allowed"
    )


def compare(
    data: Data,
    split: Split,
    settings: ListSettings,
    float32: Bundle,
    int8: Bundle,
    *,
    threads: int = 1,
    show: Progress | None = None,
) -> Comparison:
    """Measures both bundles on the same queries.

    Args:
        data: The data set of the split. The bundles were trained on the training part of the split, or on all events:
            see `Comparison.unseen`.
        split: Has the queries.
        settings: How lists are made.
        float32: The float32 bundle.
        int8: The int8 bundle.
        threads: Threads of each call of a model.
        show: Where progress is shown.

    Raises:
        TrainedOnOther: The bundles were trained on other events.
    """
    show = show or Progress(disable=True)
    trained_on = float32.manifest.data_fingerprint
    unseen = trained_on == split.training_events.fingerprint()
    if not unseen and trained_on != data.known.fingerprint():
        raise TrainedOnOther(
            f"{float32.folder} was trained on other events: neither on those of these files nor on the training part "
            f"of {split.name}"
        )
    methods = [
        _lists(data, split, settings, bundle, threads, show, name)
        for name, bundle in (("float32", float32), ("int8", int8))
    ]
    one, other = (
        float(found.measured.figure("ndcg@10").mean()) for found in measure_methods(split, methods, show)
    )
    return Comparison(split.name, len(split.queries), unseen, one, other, costs(float32), costs(int8))


def with_int8_notes(rows: Sequence[MeasuredMethod]) -> list[MeasuredMethod]:
    """Adds a note to `recstream-int8`: what it loses against `recstream`, and whether that is too much."""
    ndcg = {row.measured.name: float(row.measured.figure("ndcg@10").mean()) for row in rows}
    one, other = ndcg.get("recstream"), ndcg.get(INT8)
    if one is None or other is None:
        return list(rows)
    note = (
        refusal(one, other) or f"loses {loss(one, other):.2%} of NDCG@10; at most {MOST_LOSS:.0%} is allowed"
    )
    return [replace(row, note=note) if row.measured.name == INT8 else row for row in rows]


def check(found: Comparison) -> None:
    """Raises Int8Refused if int8 loses more than `MOST_LOSS`."""
    if reason := refusal(found.ndcg_float32, found.ndcg_int8):
        raise Int8Refused(f"{found.protocol}: {reason}")


def _lists(
    data: Data,
    split: Split,
    settings: ListSettings,
    bundle: Bundle,
    threads: int,
    show: Progress,
    name: str,
) -> RankedLists:
    ids = split.known.item_ids
    task = show.add_task(f"Item vectors, {name}", total=len(ids))
    model = bundle_model(
        bundle, ids, data.items, threads=threads, advance=lambda done: show.advance(task, done)
    )
    return RankedLists(split, data.catalogue, model, settings, name)
