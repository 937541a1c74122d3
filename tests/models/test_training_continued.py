"""A continued training learns the new events, keeps the model's sizes, and does not forget the old events."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.methods.product import product_methods
from evaluation.metrics.measure import ndcg
from evaluation.protocols.split import Split, next_items
from inference.bundle.bundle import read
from models.data.events import Events, ItemText
from models.encoders.load import load_encoders
from models.encoders.settings import EncoderSettings
from models.errors import NothingToLearn, WeightsMissing
from models.training.continuation import RehearsalWindows, continue_training, select_events
from models.training.settings import ContinuationSettings, TrainSettings
from models.training.train import train_on
from models.training.training_weights import load_weights, save_weights, weights_folder
from profiles.actions import Action
from tests.evaluation.world import list_settings
from tests.models.stopped_runs import DAY, FILMS, visits
from tests.models.tiny_bundle import text_model
from tests.models.tiny_training import tiny_settings

ACTIONS = {"rate": Action(positive_from=5.0, value_range=(1, 5))}
# The old events are not about the last eight items.
OLD, SINCE = visits(60, items=16), visits(60, start=10**12 + 20 * DAY, seed=1)
BOTH = replace(
    SINCE,
    user_ids=[*OLD.user_ids, *(f"v{user}" for user in range(60))],
    users=np.concatenate([OLD.users, SINCE.users + 60]),
    **{
        name: np.concatenate([getattr(OLD, name), getattr(SINCE, name)])
        for name in ("items", "actions", "time_ms", "values", "positive", "repeats")
    },
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return tiny_settings(
        tmp_path_factory.mktemp("text"),
        width=12,
        channels=24,
        epochs=12,
        final_epochs=4,
        mixture_steps=20,
        learning_rate=0.01,
        actions=ACTIONS,
        continuation=ContinuationSettings(epochs=24, learning_rate=0.01),
    )


@pytest.fixture(scope="module")
def trained(settings: TrainSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("trained") / "bundle"
    train_on(OLD, FILMS, settings, bundle, continuable=True)
    return bundle


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained bundle, to continue from."""
    import shutil

    for folder in (trained, weights_folder(trained)):
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / trained.name


def quality(bundle: Path, part: Split) -> float:
    return ndcg(part, product_rows_of(bundle, part))


def product_rows_of(bundle: Path, part: Split):  # type: ignore[no-untyped-def]
    from evaluation.methods import product

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(product, "check_trained_on", lambda bundle, split: None)
        return product_methods(part, FILMS, [], read(bundle), list_settings(ACTIONS))[1]


def test_new_events_are_learned_and_old_ones_are_not_forgotten(settings: TrainSettings, bundle: Path) -> None:
    middle = len(OLD) + len(SINCE) // 2
    coming = next_items(BOTH, middle, len(BOTH))
    before, first = quality(bundle, coming), read(bundle).manifest
    again = next_items(OLD, len(OLD) // 2, len(OLD))
    old_before = quality(bundle, again)
    made = continue_training(BOTH.take(np.arange(middle)), FILMS, settings, bundle)
    assert made.version == 8 and read(bundle).manifest == made
    assert (made.width, made.state_width, made.actions) == (first.width, first.state_width, first.actions)
    assert quality(bundle, coming) > before + 0.1
    assert quality(bundle, again) > old_before - 0.1


def test_new_items_get_rows_after_the_existing_ones(settings: TrainSettings, bundle: Path) -> None:
    before = load_weights(weights_folder(bundle))
    continue_training(BOTH, FILMS, settings, bundle)
    after = load_weights(weights_folder(bundle))
    assert len(before.record.item_ids) == 16 and len(after.record.item_ids) == 24
    assert after.record.item_ids[:16] == before.record.item_ids
    assert [read(bundle).item_index(item_id) for item_id in after.record.item_ids] == list(range(1, 25))
    assert after.tensors["item.ids.weight"][17:].norm(dim=1).min() > 0, "learned"
    assert (after.record.version, after.record.newest_ms) == (8, int(BOTH.time_ms[-1]))
    # Then there is nothing new to learn.
    with pytest.raises(NothingToLearn, match="no event is later than 2001-10"):
        continue_training(BOTH, FILMS, settings, bundle)
    for name in ("ranker.mixture", "ranker.slope", "ranker.offset", "user.features.value"):
        same = [
            torch.equal(n, after.tensors[key]) for key, n in before.tensors.items() if key.startswith(name)
        ]
        assert same and all(same), f"{name} stays"


def test_a_new_item_starts_with_the_cold_vector(trained: Path, settings: TrainSettings) -> None:
    model = load_weights(weights_folder(trained)).model(settings, ["one", "two"]).eval()
    text = torch.randn(2, 32)
    model.item.init_new_embeddings(torch.tensor([17, 18]), text)
    with torch.inference_mode():
        before, after = model.item(text, torch.tensor([0, 0])), model.item(text, torch.tensor([17, 18]))
    torch.testing.assert_close(before, after)
    assert model.item.cold_embedding(text).norm() > 0


def test_labels_keep_their_positions_when_new_ones_come() -> None:
    films = [ItemText(str(place), f"{'new' if place > 3 else 'old'}, both") for place in range(8)]
    chosen = EncoderSettings(text_model="labels")
    first = load_encoders(chosen, films[:4])
    later = load_encoders(chosen, films, first.tokenizer)
    assert load_encoders(chosen, films).text.fingerprint() != first.text.fingerprint()
    assert later.text.fingerprint() == first.text.fingerprint()
    assert later.tokenizer.encode("new, both, old").ids == first.tokenizer.encode("new, both, old").ids


def test_older_events_of_other_users_are_a_bounded_sample() -> None:
    newest = int(OLD.time_ms[-1])
    few = BOTH.take(np.flatnonzero((BOTH.users < 60) | (BOTH.users == 70)))
    for rehearsal, most, users in ((0.0, 9, 1), (3.0, 9, 4), (30.0, 9, 10)):
        chosen = select_events(few, newest, ContinuationSettings(rehearsal=rehearsal, max_users=most), 0)
        assert len(set(chosen.users.tolist())) == users and 70 in chosen.users
    chosen = select_events(few, newest, ContinuationSettings(rehearsal=3), 0)
    windows = RehearsalWindows(newest, 2.0, 6, 4)(chosen, np.random.default_rng(0))
    targets = [window.events[window.first_target :] for window in windows]
    new = [rows for rows in targets if chosen.time_ms[rows[-1]] > newest]
    assert (chosen.time_ms[np.concatenate(new)] > newest).all(), "a new window has no old target"
    assert sorted(np.concatenate(new)) == np.flatnonzero(chosen.time_ms > newest).tolist(), (
        "every new event is a target"
    )
    assert len(windows) == 3 * len(new)


def test_only_new_events_of_a_user_are_targets() -> None:
    one = visits(1, length=12)
    newest = int(one.time_ms[8])
    (window,) = RehearsalWindows(newest, 0.0, 6, 4)(one, np.random.default_rng(0))
    assert window.events[window.first_target :].tolist() == [9, 10, 11]
    assert window.first_target >= 6 and len(window.consumed) + window.first_target == 9


def refusal(events: Events, settings: TrainSettings, bundle: Path, films: list[ItemText] = FILMS) -> str:
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    with pytest.raises((WeightsMissing, NothingToLearn)) as refused:
        continue_training(events, films, settings, bundle)
    assert before == {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    return str(refused.value)


def test_a_refused_continuation_names_the_reason(
    settings: TrainSettings, bundle: Path, tmp_path: Path
) -> None:
    other = settings.model_copy(update={"width": 16, "history": 8})
    assert "train.width (12 then, 16 now), train.history (6 then, 8 now)" in refusal(BOTH, other, bundle)
    renamed = settings.model_copy(update={"actions": {"view": Action()}})
    assert "the names of actions" in refusal(BOTH, renamed, bundle)
    text = EncoderSettings(text_model=str(text_model(tmp_path / "other", width=24)))
    assert "the text encoder" in refusal(BOTH, settings.model_copy(update={"encoders": text}), bundle)
    assert "without times" in refusal(replace(BOTH, timed=False), settings, bundle)

    folder = weights_folder(bundle)
    weights = load_weights(folder)
    save_weights(folder, replace(weights, record=weights.record.model_copy(update={"version": 3})))
    assert "not of the same training" in refusal(BOTH, settings, bundle)
    (folder / "weights.pt").write_bytes(b"other")
    assert "was changed or is incomplete" in refusal(BOTH, settings, bundle)
    (folder / "training.json").unlink()
    assert "training.json is missing" in refusal(BOTH, settings, bundle)
