"""Data-dependent defaults for settings that were not set.

The defaults of `TrainSettings` suit ratings with times. Sequences of ids are different: they have few events for each
user and item, and no times. All that is known about an item is which items are next to it in histories. So item vectors
are wide and enter the state directly, dropout is high, and ids are never dropped.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from models.encoders.settings import LABELS
from models.training.settings import TrainSettings

SEQUENCE_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "width": 256,
        "channels": 768,
        "item_skip_connection": True,
        "batch": 256,
        "dropout": 0.5,
        "id_dropout": 0.0,
        "negatives": 2048,
        "long_term_weight": 0.0,
        "temperature": 0.07,
        "epochs": 9,
        "final_epochs": 5,
        "learning_rate": 2e-3,
        "final_learning_rate": 2e-3,
    }
)
"""Defaults for data without times. They were measured on reviews of toys (docs/experiments.md)."""


def with_data_defaults(
    settings: TrainSettings, *, timed: bool, has_content: bool, labels: bool
) -> tuple[TrainSettings, dict[str, Any]]:
    """The settings with data-dependent defaults. Settings that were set explicitly stay.

    Args:
        settings: as they were read.
        timed: whether the data's times are real.
        has_content: whether items have any content besides their ids. If not, ids are not dropped, because nothing
            would be left.
        labels: whether the items' texts are labels and not language.

    Returns:
        The settings, and the values that were changed, by name.
    """
    changes: dict[str, Any] = {} if has_content else {"id_dropout": 0.0}
    if not timed:
        changes |= SEQUENCE_DEFAULTS
    changes = {name: value for name, value in changes.items() if name not in settings.model_fields_set}
    changed = settings.model_copy(update=changes)
    if labels and "text_model" not in settings.encoders.model_fields_set:
        changes["encoders.text_model"] = LABELS
        encoders = settings.encoders.model_copy(update={"text_model": LABELS})
        changed = changed.model_copy(update={"encoders": encoders})
    return changed, changes
