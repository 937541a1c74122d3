"""Settings follow the data where nobody has said otherwise, and nowhere else."""

import pytest

from models.encoders.settings import EncoderSettings
from models.training.data_defaults import SEQUENCE_DEFAULTS, with_data_defaults
from models.training.settings import TrainSettings


def test_what_suits_sequences_takes_the_place_of_defaults() -> None:
    changed, better = with_data_defaults(TrainSettings(), timed=False, has_content=True, labels=True)
    assert better == {**SEQUENCE_DEFAULTS, "encoders.text_model": "labels"}
    assert all(getattr(changed, name) == value for name, value in SEQUENCE_DEFAULTS.items())
    assert changed.encoders.text_model == "labels"
    # Checked as any settings are: an update is not.
    assert TrainSettings.model_validate(changed.model_dump()) == changed


def test_what_was_set_stays() -> None:
    mine = TrainSettings(width=64, dropout=0.2, encoders=EncoderSettings(text_model="all-MiniLM-L6-v2"))
    changed, better = with_data_defaults(mine, timed=False, has_content=True, labels=True)
    assert (changed.width, changed.dropout) == (64, 0.2) and changed.channels == SEQUENCE_DEFAULTS["channels"]
    assert changed.encoders == mine.encoders
    assert not {"width", "dropout", "encoders.text_model"} & better.keys()


def test_events_with_times_and_texts_are_learned_from_as_ever() -> None:
    settings = TrainSettings()
    assert with_data_defaults(settings, timed=True, has_content=True, labels=False) == (settings, {})


@pytest.mark.parametrize("timed", [False, True])
def test_no_id_is_dropped_where_nothing_else_is_known(timed: bool) -> None:
    assert (
        with_data_defaults(TrainSettings(), timed=timed, has_content=False, labels=False)[0].id_dropout == 0
    )
    assert (
        with_data_defaults(TrainSettings(id_dropout=0.3), timed=timed, has_content=False, labels=False)[
            0
        ].id_dropout
        == 0.3
    )
