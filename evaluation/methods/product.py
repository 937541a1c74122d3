"""The methods of the product, made from a bundle that was trained on the split's training part."""

from collections.abc import Callable, Sequence
from typing import Final

from rich.progress import Progress

from catalog.items.items import Item
from evaluation.errors import TrainedOnOther
from evaluation.method import Method
from evaluation.methods.bundle_model import bundle_model
from evaluation.methods.evaluated_model import EvaluatedModel
from evaluation.methods.exploration import WithExploration, without_events
from evaluation.methods.lists import LENGTH, ListSettings, RankedLists, Retrieval
from evaluation.protocols.cold import ColdMethod, NearestText
from evaluation.protocols.split import Split
from inference.bundle.bundle import Bundle
from models.data.events import Floats, ItemText

ALONE: Final = "student alone"
INT8: Final = "recstream-int8"


def product_methods(
    split: Split,
    items: Sequence[ItemText],
    catalogue: Sequence[Item],
    bundle: Bundle,
    settings: ListSettings,
    *,
    int8: Bundle | None = None,
    alone: Bundle | None = None,
    threads: int = 1,
    show: Progress | None = None,
) -> list[Method]:
    """The methods of the product on a split.

    Args:
        split: The split.
        items: Texts and media of the items, as the model reads them.
        catalogue: The items as the catalogue holds them.
        bundle: The model.
        settings: How lists are made.
        int8: The same model in eight bits.
        alone: The same model trained without a teacher.
        threads: Threads of each call of a model.
        show: Where the progress of the item vectors is shown.

    Returns:
        `recstream` and `recstream-retrieval`. With `int8` also `recstream-int8`. With `alone` also `student alone`, the
        retrieval of that bundle.

    Raises:
        TrainedOnOther: A bundle was not trained on the training part of the split.
    """
    show = show or Progress(disable=True)

    def model(one: Bundle, name: str) -> EvaluatedModel:
        check_trained_on(one, split)
        return _model(split, items, one, threads, show, f"Item vectors, {name}")

    own = model(bundle, "recstream")
    methods: list[Method] = [
        RankedLists(split, catalogue, own, settings),
        Retrieval(split, catalogue, own, settings),
    ]
    if int8 is not None:
        methods.append(RankedLists(split, catalogue, model(int8, INT8), settings, INT8))
    if alone is not None:
        methods.append(Retrieval(split, catalogue, model(alone, ALONE), settings, ALONE))
    return methods


def cold_methods(
    items: Sequence[ItemText],
    catalogue: Sequence[Item],
    bundle: Bundle,
    settings: ListSettings,
    text: Floats,
    *,
    threads: int = 1,
    show: Progress | None = None,
) -> Callable[[Split], list[ColdMethod]]:
    """The methods that `evaluation.protocols.cold.cold_items` compares.

    Args:
        items, catalogue, bundle, settings, threads, show: See `product_methods`.
        text: Text vectors of the events' items, float32 [n, w].

    Returns:
        A function from a split to the methods of `cold_methods_of`. It raises TrainedOnOther.
    """
    show = show or Progress(disable=True)
    models: list[EvaluatedModel] = []

    def methods(split: Split) -> list[ColdMethod]:
        check_trained_on(bundle, split)
        if not models:
            models.append(_model(split, items, bundle, threads, show, "Item vectors"))
        share = settings.ranking.default.exploration_share
        return cold_methods_of(split, catalogue, models[0], settings, text, share)

    return methods


def cold_methods_of(
    split: Split,
    catalogue: Sequence[Item],
    model: EvaluatedModel,
    settings: ListSettings,
    text: Floats,
    exploration_share: float,
) -> list[ColdMethod]:
    """The methods that are compared on cold-start items.

    Args:
        split: The split.
        catalogue, settings, text: See `cold_methods`.
        model: The model.
        exploration_share: Share of the positions that items without a training event get.

    Returns:
        `recstream`, `recstream` with exploration unless its share is 0, the retrieval, and the nearest by text alone.
    """
    count = len(split.known.item_ids)
    lists = RankedLists(split, catalogue, model, settings)
    everything = RankedLists(split, catalogue, model, settings.all_items(count), length=count)
    retrieval, by_text = Retrieval(split, catalogue, model, settings), NearestText(split.known, text)
    found = [ColdMethod(lists, everything), ColdMethod(retrieval, retrieval), ColdMethod(by_text, by_text)]
    if exploration_share:
        candidates = RankedLists(split, catalogue, model, settings.all_candidates(), length=count)
        new = without_events(count, split.training_events.items)
        found.insert(1, ColdMethod(WithExploration(candidates, new, exploration_share, LENGTH), everything))
    return found


def _model(
    split: Split, items: Sequence[ItemText], bundle: Bundle, threads: int, show: Progress, title: str
) -> EvaluatedModel:
    task = show.add_task(title, total=len(split.known.item_ids))
    return bundle_model(
        bundle, split.known.item_ids, items, threads=threads, advance=lambda done: show.advance(task, done)
    )


def check_trained_on(bundle: Bundle, split: Split) -> None:
    """Raises TrainedOnOther unless the bundle was trained on exactly the split's training part."""
    if bundle.manifest.data_fingerprint != split.training_events.fingerprint():
        raise TrainedOnOther(
            f"{bundle.folder} was trained on other events than the training part of {split.name} of these files"
        )
