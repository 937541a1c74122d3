"""What evaluations take from files and settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from catalog.items import check, from_proto
from cli.files import Files
from cli.pictures import picture
from cli.settings import Settings
from models.data import Events, Floats, ItemText, Media, events
from models.evaluation.candidates import CandidateSettings
from models.evaluation.composition import CompositionSettings
from profiles.actions import Actions

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
            tuple(Media("image", content) for content in picture(files.images.get(item.item_id))),
        )
        for item in files.items
        if not check(item)
    ]


def data_of(files: Files, settings: Settings) -> Data:
    """Raises NothingToLearn where no event has an action that is configured."""
    items = item_texts(files)
    return Data(events([files.interactions], items, Actions(settings.profiles.actions)), items)


def text_vectors(data: Data, settings: Settings, bundle: Path, show: Progress) -> Floats:
    """Of the items of the events [n, w], by the text encoder that `recstream train` takes. Raises EncoderNotFound."""
    from models.encoders.load import load

    cache = settings.train.cache or bundle.with_name("item-vectors")
    found: Floats = (
        load(settings.train.encoders).vectors(data.known.item_ids, data.items, cache, show).text.numpy()
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
