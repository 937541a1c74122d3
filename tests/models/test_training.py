"""Training learns from the given events only, and beats popularity if their order can be learned."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.baselines.popularity import Popularity
from evaluation.methods.product import product_methods
from evaluation.metrics.measure import measure
from evaluation.protocols.split import split
from inference.bundle.bundle import read
from models.data.events import ItemText, index_events, texts_fingerprint
from models.data.popularity import PopularityHistory
from models.errors import NothingToLearn
from models.network.recommender import Recommender
from models.network.sequence_model import ItemTable
from models.training.settings import TrainSettings
from models.training.train import train, train_on
from profiles.actions import Action, Actions
from tests.evaluation.world import list_settings
from tests.models.tiny_training import Table, tiny_settings

ITEMS = [ItemText(str(i), f"film {i}", 10**12 if i % 2 else None) for i in range(40)]
ACTIONS = {"rate": Action(positive_from=4.0, value_range=(1, 5))}
HOUR = 3_600_000


def walks(users: int, length: int, start: int = 10**12, first_user: int = 0) -> Table:
    """Each user walks around the circle of forty items from a random start, and sometimes skips one."""
    rng = np.random.default_rng(first_user)
    rows: list[tuple[int, str, str, float]] = []
    for user in range(users):
        at = int(rng.integers(0, 40))
        for step in range(length):
            rows.append(
                (start + user * 1000 + step * HOUR, f"u{first_user + user}", str(at % 40), 4.0 + step % 2)
            )
            at += 1 + int(rng.random() < 0.15)
    rows.sort()
    time_ms, user_ids, item_ids, values = zip(*rows, strict=True)
    return Table(list(user_ids), list(item_ids), ["rate"] * len(rows), np.array(time_ms), np.array(values))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return tiny_settings(
        tmp_path_factory.mktemp("text"),
        width=16,
        channels=32,
        hidden=32,
        history=8,
        epochs=15,
        final_epochs=8,
        learning_rate=0.01,
        actions=ACTIONS,
    )


def hit_rates(training: Table, replay: Table, bundle: Path) -> tuple[float, float]:
    """HR@5 of the product's lists and of popularity, before each event of the replay, which is the last tenth."""
    found = split(index_events([training, replay], ITEMS, Actions(ACTIONS)), "next-item")
    assert len(found.queries) == len(replay.user_ids) == len(found.known) - found.training.sum()
    lists = product_methods(found, ITEMS, [], read(bundle), list_settings(ACTIONS))[0]
    popularity = Popularity(found.known, found.known.positive, None)
    hits, popular = (measure(found, row).figure("hr@5").mean() for row in (lists, popularity))
    return float(hits), float(popular)


@pytest.mark.drill
def test_the_model_predicts_the_next_item_better_than_popularity(
    settings: TrainSettings, tmp_path: Path
) -> None:
    training, replay = walks(120, 27), walks(30, 12, start=10**12 + 30 * HOUR, first_user=1000)
    manifest = train(training, ITEMS, settings, tmp_path / "bundle")
    assert manifest.version == 7 and manifest.metrics["events"] == 120 * 27
    assert read(tmp_path / "bundle").manifest == manifest
    hits, popular = hit_rates(training, replay, tmp_path / "bundle")
    assert hits > 2 * max(popular, 0.1)


@pytest.mark.drill
def test_held_out_events_do_not_influence_the_training(settings: TrainSettings, tmp_path: Path) -> None:
    """The last event of every user gets an item that occurs nowhere else: only its text may be known."""
    whole = walks(20, 8)
    last = np.array(
        [i for i in range(len(whole.user_ids)) if whole.user_ids[i] not in whole.user_ids[i + 1 :]]
    )
    whole = replace(whole, item_ids=["secret" if i in set(last) else n for i, n in enumerate(whole.item_ids)])
    known = whole.rows(np.setdiff1d(np.arange(len(whole.user_ids)), last))
    items = [*ITEMS, ItemText("secret", "a secret film")]
    learned = index_events([known], items, Actions(ACTIONS))
    place = learned.item_ids.index("secret")
    assert not (learned.items == place).any()
    assert not PopularityHistory.of(learned, 7).at(whole.time_ms)[:, place].any()
    manifest = train(
        known, items, settings.model_copy(update={"epochs": 1, "final_epochs": 1}), tmp_path / "bundle"
    )
    bundle = read(tmp_path / "bundle")
    assert bundle.item_index("secret") == 0 and bundle.item_index("0") > 0
    assert manifest.data_fingerprint == learned.fingerprint()
    assert manifest.texts_fingerprint == texts_fingerprint(bundle.trained_items(), items)


def test_the_order_of_a_file_does_not_matter() -> None:
    table = walks(10, 6)
    same_second = replace(table, time_ms=table.time_ms // HOUR * HOUR)
    shuffled = same_second.rows(np.random.default_rng(0).permutation(len(table.user_ids)))
    by_item = same_second.rows(np.array(sorted(range(60), key=lambda i: int(table.item_ids[i]))))
    prints = {
        index_events([t], ITEMS, Actions(ACTIONS)).fingerprint() for t in (same_second, shuffled, by_item)
    }
    assert len(prints) == 1
    ordered = index_events([by_item], ITEMS, Actions(ACTIONS))
    assert not (np.diff(ordered.items[:10]) >= 0).all(), "within a second, the order is not that of the file"


def test_popularity_is_the_sum_of_earlier_events_weighted_by_age() -> None:
    table = walks(30, 20)
    known = index_events([table], ITEMS, Actions(ACTIONS))
    history = PopularityHistory.of(known, half_life_days=0.5, snapshots=len(known))
    for row in (0, 1, 300, 599):
        moment = int(known.time_ms[row])
        expected = np.zeros(40)
        for earlier in range(len(known)):
            if known.time_ms[earlier] < moment and known.positive[earlier]:
                age = moment - known.time_ms[earlier]
                expected[known.items[earlier]] += 2.0 ** (-age / (12 * HOUR))
        np.testing.assert_allclose(history.at(np.array([moment]))[0], expected, rtol=1e-4, atol=1e-5)


def test_equal_data_and_seed_give_an_equal_model(settings: TrainSettings, tmp_path: Path) -> None:
    table, short = walks(15, 8), settings.model_copy(update={"epochs": 1, "final_epochs": 1})
    first = train(table, ITEMS, short, tmp_path / "first")
    second = train(table.rows(np.random.default_rng(1).permutation(120)), ITEMS, short, tmp_path / "second")
    assert first.files == second.files and first.data_fingerprint == second.data_fingerprint
    assert first.metrics["encoder_loss"] == second.metrics["encoder_loss"]


def test_trainings_of_users_with_every_item_and_of_one_item_end(
    settings: TrainSettings, tmp_path: Path
) -> None:
    few = ITEMS[:10]
    everything = Table(
        ["all"] * 10 + ["most"] * 9,
        [str(i) for i in range(10)] + [str(i) for i in range(9)],
        ["rate"] * 19,
        np.arange(19) * HOUR,
        np.full(19, 5.0),
    )
    one = everything.rows(np.array([0]))
    short = settings.model_copy(update={"epochs": 1, "final_epochs": 1})
    for table, items in ((everything, few), (one, few[:1])):
        metrics = train(table, items, short, tmp_path / "bundle").metrics
        assert all(math.isfinite(number) for number in metrics.values())


@pytest.mark.drill
def test_more_items_than_negatives_are_sampled(settings: TrainSettings, tmp_path: Path) -> None:
    sampled = settings.model_copy(update={"negatives": 16})
    training, replay = walks(80, 27), walks(20, 12, start=10**12 + 30 * HOUR, first_user=1000)
    train(training, ITEMS, sampled, tmp_path / "bundle")
    hits, popular = hit_rates(training, replay, tmp_path / "bundle")
    assert hits > popular + 0.1


def test_events_without_a_known_action_are_refused(settings: TrainSettings, tmp_path: Path) -> None:
    table = replace(walks(2, 3), actions=["dance"] * 6)
    with pytest.raises(NothingToLearn, match="dance"):
        train(table, ITEMS, settings, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_validator_measures_each_epoch_of_the_encoder_and_changes_no_weight(
    settings: TrainSettings, tmp_path: Path
) -> None:
    short = settings.model_copy(update={"epochs": 2, "final_epochs": 1, "mixture_steps": 4})
    learned = index_events([walks(15, 8)], ITEMS, Actions(ACTIONS))
    seen: list[int] = []

    def validate(model: Recommender, items: ItemTable) -> dict[str, float]:
        assert not model.training
        torch.rand(3)  # Its random draws must not matter.
        seen.append(len(items.vectors(model)))
        return {"ndcg@10": 0.5}

    plain = train_on(learned, ITEMS, short, tmp_path / "plain")
    validated = train_on(learned, ITEMS, short, tmp_path / "validated", validate=validate)
    assert seen == [40] * 3
    assert plain.files == validated.files
