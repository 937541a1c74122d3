"""Settings that suit what is learned from, where nobody has said otherwise.

The defaults of `TrainSettings` suit ratings with times. Sequences of ids are another matter: a few events of each user
and each item, and no moments. What an item's neighbours in histories were is all that is known of it, so its vector is
wide and enters the state as it is, much is dropped in training, and nothing is asked of an item without its id.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from models.encoders.labels import LABELS
from models.training.settings import TrainSettings

SEQUENCES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "width": 256,
        "channels": 768,
        "direct": True,
        "batch": 256,
        "dropout": 0.5,
        "id_dropout": 0.0,
        "negatives": 2048,
        "taste_weight": 0.0,
        "temperature": 0.07,
        "epochs": 9,
        "final_epochs": 5,
        "learning_rate": 2e-3,
        "final_learning_rate": 2e-3,
    }
)
"""Without times; measured on reviews of toys (docs/model.md)."""


def suited(
    settings: TrainSettings, *, timed: bool, told: bool, labelled: bool
) -> tuple[TrainSettings, dict[str, Any]]:
    """The settings with what suits the data in place of defaults, and what that is, by name. What was set stays.

    timed: whether times are real. told: whether anything is known of items but their ids; else no id is dropped, for
    nothing would be left. labelled: whether their texts are labels and no language, which are learned as such then.
    """
    better: dict[str, Any] = {} if told else {"id_dropout": 0.0}
    if not timed:
        better |= SEQUENCES
    better = {name: value for name, value in better.items() if name not in settings.model_fields_set}
    changed = settings.model_copy(update=better)
    if labelled and "text_model" not in settings.encoders.model_fields_set:
        better["encoders.text_model"] = LABELS
        encoders = settings.encoders.model_copy(update={"text_model": LABELS})
        changed = changed.model_copy(update={"encoders": encoders})
    return changed, better
