"""Prepares data sets and settings for evaluations."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.progress import Progress

from catalog.items.items import Item, check, from_proto
from configuration.settings import Settings
from evaluation.errors import EvaluationError
from evaluation.method import Method
from evaluation.methods.lists import ListSettings
from evaluation.methods.teacher import TeacherMethod
from evaluation.protocols.split import Split
from inference.bundle.bundle import MAX_TEXT_ATTRIBUTES, Bundle
from models.data.events import Events, Floats, ItemText, Media, index_events, texts_fingerprint
from models.training.distillation import load_teacher, teacher_file
from profiles.actions import Actions
from ranking.settings import DEFAULT_SURFACE
from readers.files import Files
from readers.items.images import local_image
from recstream.v1 import item_pb2

MODEL_SURFACE: Final = "evaluation"
"""The surface for measurements of a model: it lists the model's order, with nothing moved."""


@dataclass(frozen=True, slots=True)
class Data:
    """A data set.

    Attributes:
        known: All events, in order.
        items: The items as the model reads them.
        catalogue: The same items as the catalogue holds them. For an item that is missing here, the catalogue only has
            its id.
        text_attributes: The attributes whose texts are part of the texts of `items`.
    """

    known: Events
    items: Sequence[ItemText]
    catalogue: Sequence[Item] = ()
    text_attributes: tuple[str, ...] = ()


def text_attributes(items: Sequence[item_pb2.Item]) -> tuple[str, ...]:
    """The attributes in which the items have texts, sorted: the most frequent ones, as many as a bundle may name."""
    counts = Counter(name for item in items for name, attribute in item.attributes.items() if attribute.texts)
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_TEXT_ATTRIBUTES]
    return tuple(sorted(frequent))


def item_texts(files: Files, text_attributes: Collection[str]) -> list[ItemText]:
    """The items as the model reads them, with their images. Items that a server would reject are left out.

    Args:
        files: The items, and their images.
        text_attributes: The attributes whose texts the model reads.
    """
    read = frozenset(text_attributes)
    return [
        ItemText(
            item.item_id,
            item.text(read),
            item.published_at_ms,
            tuple(Media("image", content) for content in local_image(files.images.get(item.item_id))),
        )
        for item in catalogue_items(files)
    ]


def catalogue_items(files: Files) -> list[Item]:
    """The items as the catalogue holds them. Items that a server would reject are left out."""
    return [from_proto(item) for item in files.items if not check(item)]


def labelled(items: Sequence[item_pb2.Item]) -> bool:
    """Whether the items have nothing but numeric categories, which are ids of attributes and no language."""
    labels = [label for item in items for label in item.categories]
    return (
        bool(labels)
        and all(map(str.isdecimal, labels))
        and not any(item.title or item.description or item.media for item in items)
        and not text_attributes(items)
    )


def data_of(files: Files, settings: Settings, bundle: Bundle | None = None) -> Data:
    """The data set of these files.

    Args:
        files: The events and items.
        settings: The actions that count, and the attributes whose texts a training reads.
        bundle: Whose reading of items is taken. None: a training's on these files.

    Raises:
        NothingToLearn: No event has a configured action.
    """
    read = bundle.manifest.text_attributes if bundle is not None else settings.train.text_attributes
    if read is None:
        read = text_attributes(files.items)
    texts = item_texts(files, read)
    known = index_events([files.interactions], texts, Actions(settings.profiles.actions))
    return Data(known, texts, catalogue_items(files), read)


def list_settings(settings: Settings, surface: str = DEFAULT_SURFACE) -> ListSettings:
    """How a surface makes lists. Raises EvaluationError for a surface that is not configured."""
    names = (DEFAULT_SURFACE, *sorted(settings.ranking.surfaces))
    if surface not in names:
        raise EvaluationError(f"no surface is called {surface!r}: there are {', '.join(names)}")
    return ListSettings(settings.profiles, settings.ranking, surface)


def texts_warning(bundle: Bundle, items: Sequence[ItemText]) -> str:
    """A warning if the bundle was trained with other texts of its items; otherwise empty."""
    trained_with = bundle.manifest.texts_fingerprint
    if not trained_with or trained_with == texts_fingerprint(bundle.trained_items(), items):
        return ""
    return (
        f"{bundle.folder} was trained with other texts of its items. Their vectors, and so the figures, differ from "
        "those of its training. Pass the files that it was trained with to `--items`."
    )


def teacher_methods(
    test: Split, data: Data, settings: Settings, bundle: Path, file: Path | None, show: Progress
) -> list[Method]:
    """The method of the bundle's teacher, if there is one.

    Args:
        test: The test variant of a split.
        data: The data set.
        settings: For the encoders of items.
        bundle: Folder of the bundle.
        file: The teacher's file. None: the file beside the bundle, if that teacher was trained on the training part.
        show: Where progress is shown.

    Returns:
        One method or none.

    Raises:
        WeightsMissing: The teacher cannot be read, or was trained with another text encoder or other actions.
        TrainedOnOther: `file` is a teacher that was trained on other events.
        EncoderNotFound: An encoder of items is missing.
    """
    from models.encoders.load import load_encoders

    default_file = teacher_file(bundle)
    if file is None and not default_file.is_file():
        return []
    teacher, record = load_teacher(file or default_file)
    if file is None and record.data_fingerprint != test.training_events.fingerprint():
        return []
    encoders = load_encoders(settings.train.encoders, data.items)
    cache = settings.train.cache or bundle.with_name("item-vectors")
    inputs = encoders.vectors(data.known.item_ids, data.items, cache, show)
    return [TeacherMethod(test, teacher, record, inputs, encoders.text.fingerprint())]


def text_vectors(data: Data, settings: Settings, bundle: Path, show: Progress) -> Floats:
    """Text vectors of the events' items, float32 [n, w], by the text encoder of `recstream train`.

    Raises EncoderNotFound.
    """
    from models.encoders.load import load_encoders

    cache = settings.train.cache or bundle.with_name("item-vectors")
    found: Floats = (
        load_encoders(settings.train.encoders, data.items)
        .vectors(data.known.item_ids, data.items, cache, show)
        .text.numpy()
    )
    return found
