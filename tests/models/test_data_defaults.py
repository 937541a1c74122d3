"""Defaults depend on the data. Explicit settings do not."""

import pytest

from models.encoders.settings import EncoderSettings
from models.training.data_defaults import SEQUENCE_DEFAULTS, with_data_defaults
from models.training.settings import TrainSettings


def test_sequence_defaults_replace_the_usual_defaults() -> None:
    changed, better = with_data_defaults(TrainSettings(), timed=False, has_content=True, labels=True)
    assert better == {**SEQUENCE_DEFAULTS, "encoders.text_model": "labels"}
    assert all(getattr(changed, name) == value for name, value in SEQUENCE_DEFAULTS.items())
    assert changed.encoders.text_model == "labels"
    # The result must be valid, because `model_copy` does not validate.
    assert TrainSettings.model_validate(changed.model_dump()) == changed


def test_explicit_settings_stay() -> None:
    mine = TrainSettings(width=64, dropout=0.2, encoders=EncoderSettings(text_model="all-MiniLM-L6-v2"))
    changed, better = with_data_defaults(mine, timed=False, has_content=True, labels=True)
    assert (changed.width, changed.dropout) == (64, 0.2) and changed.channels == SEQUENCE_DEFAULTS["channels"]
    assert changed.encoders == mine.encoders
    assert not {"width", "dropout", "encoders.text_model"} & better.keys()


def test_timed_events_with_texts_keep_the_usual_defaults() -> None:
    settings = TrainSettings()
    assert with_data_defaults(settings, timed=True, has_content=True, labels=False) == (settings, {})


@pytest.mark.parametrize("timed", [False, True])
def test_ids_are_not_dropped_if_items_have_no_content(timed: bool) -> None:
    assert (
        with_data_defaults(TrainSettings(), timed=timed, has_content=False, labels=False)[0].id_dropout == 0
    )
    assert (
        with_data_defaults(TrainSettings(id_dropout=0.3), timed=timed, has_content=False, labels=False)[
            0
        ].id_dropout
        == 0.3
    )
