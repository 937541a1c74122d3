"""The rows of the product, from a bundle that was trained on the split's training part."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from rich.progress import Progress

from evaluation.errors import TrainedOnOther
from evaluation.method import Method
from evaluation.methods.composition import Composition, CompositionSettings, Retrieval
from evaluation.methods.exploration import WithExploration, without_events
from evaluation.methods.served_model import BundleModel
from evaluation.protocols.cold import ColdMethod, NearestText
from evaluation.protocols.split import Split
from inference.bundle.bundle import Bundle
from models.data.events import Floats, ItemText

ALONE: Final = "student alone"
INT8: Final = "recstream-int8"


def product_methods(
    split: Split,
    items: Sequence[ItemText],
    bundle: Bundle,
    settings: CompositionSettings,
    *,
    int8: Bundle | None = None,
    alone: Bundle | None = None,
    threads: int = 1,
    show: Progress | None = None,
) -> list[Method]:
    """`recstream`, `recstream-retrieval`, `recstream-int8` where its bundle is given, and `student alone`, the
    retrieval of a bundle that was trained without a teacher.

    Raises TrainedOnOther.
    """
    show = show or Progress(disable=True)

    def composed(one: Bundle, name: str) -> Composition:
        check_trained_on(one, split)
        task = show.add_task(f"Item vectors, {name}", total=len(split.known.item_ids))
        model = BundleModel(
            one, split.known.item_ids, items, threads=threads, advance=lambda done: show.advance(task, done)
        )
        return Composition(split, items, model, settings, name)

    whole = composed(bundle, "recstream")
    rows: list[Method] = [whole, Retrieval(whole)]
    if int8 is not None:
        rows.append(composed(int8, INT8))
    if alone is not None:
        rows.append(Retrieval(composed(alone, ALONE), ALONE))
    return rows


def cold_methods(
    items: Sequence[ItemText],
    bundle: Bundle,
    settings: CompositionSettings,
    text: Floats,
    *,
    exploration_share: float = 0.0,
    threads: int = 1,
    show: Progress | None = None,
) -> Callable[[Split], list[ColdMethod]]:
    """For `evaluation.protocols.cold.cold_items`: `recstream`, the same with so large a share of its places for items
    without a training event (not where it is 0), its retrieval, and the nearest by text alone. text [n, w]: text
    vectors of the events' items. What is returned raises TrainedOnOther."""
    show = show or Progress(disable=True)
    models: list[BundleModel] = []

    def rows(split: Split) -> list[ColdMethod]:
        check_trained_on(bundle, split)
        ids = split.known.item_ids
        if not models:
            task = show.add_task("Item vectors", total=len(ids))
            models.append(
                BundleModel(
                    bundle, ids, items, threads=threads, advance=lambda done: show.advance(task, done)
                )
            )
        every = settings.candidates.model_copy(update={"nearest": len(ids), "popular": len(ids)})
        served = Composition(split, items, models[0], settings)
        ranking = Composition(split, items, models[0], settings.model_copy(update={"candidates": every}))
        near, by_text = Retrieval(served), NearestText(split.known, text)
        found = [ColdMethod(served, ranking), ColdMethod(near, near), ColdMethod(by_text, by_text)]
        if exploration_share:
            new = without_events(split.known, np.flatnonzero(split.training))
            found.insert(1, ColdMethod(WithExploration(served, split.known, new, exploration_share), ranking))
        return found

    return rows


def check_trained_on(bundle: Bundle, split: Split) -> None:
    """Raises TrainedOnOther unless the bundle learned from the split's training part, no more and no less."""
    if bundle.manifest.data_fingerprint != split.training_events.fingerprint():
        raise TrainedOnOther(
            f"{bundle.folder} was trained on other events than the training part of {split.name} of these files"
        )
