"""What evaluations take from files and settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from catalog.items.items import check, from_proto
from configuration.settings import Settings
from evaluation.method import Method
from evaluation.methods.candidates import CandidateSettings
from evaluation.methods.composition import CompositionSettings
from evaluation.methods.teacher import TeacherMethod
from evaluation.protocols.split import Split
from inference.bundle.bundle import Bundle
from models.data.events import Events, Floats, ItemText, Media, index_events, texts_fingerprint
from models.training.distillation import load_teacher, teacher_file
from profiles.actions import Actions
from readers.files import Files
from readers.items.images import local_image
from recstream.v1 import item_pb2

SURFACE = "evaluation"


@dataclass(frozen=True, slots=True)
class Data:
    """All events of the files, in order, and what is known of the items."""

    known: Events
    items: Sequence[ItemText]


def item_texts(files: Files) -> list[ItemText]:
    """The items as the model reads them; those that no server would take are left out."""
    return [
        ItemText(
            item.item_id,
            from_proto(item).text(),
            item.published_at_ms or None,
            tuple(Media("image", content) for content in local_image(files.images.get(item.item_id))),
        )
        for item in files.items
        if not check(item)
    ]


def labelled(items: Sequence[item_pb2.Item]) -> bool:
    """Whether all that is said of the items is numbers in the place of categories: ids of attributes, no language."""
    labels = [label for item in items for label in item.categories]
    return (
        bool(labels)
        and all(map(str.isdecimal, labels))
        and not any(item.title or item.description or item.attributes or item.media for item in items)
    )


def data_of(files: Files, settings: Settings) -> Data:
    """Raises NothingToLearn where no event has an action that is configured."""
    items = item_texts(files)
    return Data(index_events([files.interactions], items, Actions(settings.profiles.actions)), items)


def texts_warning(bundle: Bundle, items: Sequence[ItemText]) -> str:
    """A warning where these are not the texts that the bundle's items were trained with, else nothing."""
    trained_with = bundle.manifest.texts_fingerprint
    if not trained_with or trained_with == texts_fingerprint(bundle.trained_items(), items):
        return ""
    return (
        f"{bundle.folder} was trained with other texts of its items: their vectors, and so the figures, are not those "
        "of its training. `--items` names the files it was trained with."
    )


def teacher_methods(
    test: Split, data: Data, settings: Settings, bundle: Path, file: Path | None, show: Progress
) -> list[Method]:
    """The row of the bundle's teacher, where there is one. file: it; None: that beside the bundle, where it learned
    from the same events.

    Raises WeightsMissing, TrainedOnOther, EncoderNotFound.
    """
    from models.encoders.load import load_encoders

    beside = teacher_file(bundle)
    if file is None and not beside.is_file():
        return []
    teacher, record = load_teacher(file or beside)
    if file is None and record.data_fingerprint != test.training_events.fingerprint():
        return []
    encoders = load_encoders(settings.train.encoders, data.items)
    cache = settings.train.cache or bundle.with_name("item-vectors")
    inputs = encoders.vectors(data.known.item_ids, data.items, cache, show)
    return [TeacherMethod(test, teacher, record, inputs, encoders.text.fingerprint())]


def text_vectors(data: Data, settings: Settings, bundle: Path, show: Progress) -> Floats:
    """Of the items of the events [n, w], by the text encoder that `recstream train` takes. Raises EncoderNotFound."""
    from models.encoders.load import load_encoders

    cache = settings.train.cache or bundle.with_name("item-vectors")
    found: Floats = (
        load_encoders(settings.train.encoders, data.items)
        .vectors(data.known.item_ids, data.items, cache, show)
        .text.numpy()
    )
    return found


def composition(settings: Settings) -> CompositionSettings:
    """How the surface `evaluation` composes lists."""
    surface = settings.ranking.surface(SURFACE)
    weights = surface.action_weights
    return CompositionSettings(
        candidates=CandidateSettings(
            nearest=surface.nearest,
            similar=surface.similar,
            similar_seeds=surface.similar_seeds,
            popular=surface.popular,
        ),
        rating_weight=surface.rating_weight,
        actions={
            name: action.model_copy(update={"weight": weights.get(name, action.weight)})
            for name, action in settings.profiles.actions.items()
        },
    )
