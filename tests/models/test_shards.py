"""A training from disk sees the same events as a training from memory."""

from contextlib import suppress
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import models.data.shards
from models.data.events import Events, ItemText, index_events
from models.data.preparation import PreparationReport, PreparationSettings
from models.data.shard_writer import write_shards
from models.data.shards import Shards
from models.data.training_data import InMemoryData
from models.encoders.settings import EncoderSettings
from models.errors import NothingToLearn, PreparationImpossible, TrainingStopped
from models.training.resume.checkpoint import Checkpoint
from models.training.settings import TrainSettings
from models.training.train import train_on
from profiles.actions import Action, Actions
from tests.models.stopped_runs import StopAt
from tests.models.tiny_bundle import text_model
from tests.models.tiny_training import Table

ACTIONS = {"rate": Action(positive_from=4.0, value_range=(1, 5)), "view": Action(repeats=True)}
ITEMS = [ItemText(name, f"film {name}") for name in ("z", "i3", "i1")]
HOUR = 3_600_000
USERS = 60


def table(rows: int = 1500) -> Table:
    """Events with distinct times, so that there is only one order."""
    rng = np.random.default_rng(0)
    actions = ["rate" if kind else "view" for kind in rng.integers(0, 2, rows)]
    ratings = rng.integers(0, 6, rows).astype(float)  # 0 is outside the range
    return Table(
        [f"u{user}" for user in rng.integers(0, USERS, rows)],
        [f"i{item}" for item in rng.integers(0, 25, rows)],
        actions,
        10**12 + rng.permutation(rows) * HOUR,
        np.where(np.array(actions) == "rate", ratings, np.nan),
    )


def parts(whole: Table, count: int = 4) -> list[Table]:
    part = np.array([int(user[1:]) % count for user in whole.user_ids])
    return [whole.rows(np.flatnonzero(part == place)) for place in range(count)]


def written(tables: list[Table], folder: Path, sample: int = 10**6) -> tuple[Shards, PreparationReport]:
    folder.mkdir(exist_ok=True)
    rows = sum(len(t.user_ids) for t in tables)
    report = write_shards(tables, ITEMS, Actions(ACTIONS), PreparationSettings(), folder, "key", rows)
    found = Shards.read(folder, "key", sample)
    assert found is not None
    return found, report


def in_memory(whole: Table) -> Events:
    known = index_events([whole], ITEMS, Actions(ACTIONS))
    return known.take(np.flatnonzero(~(known.values < 1)))


def facts(known: Events) -> list[tuple[object, ...]]:
    names = (known.user_ids[u] for u in known.users)
    columns = known.items, known.actions, known.time_ms, known.positive, known.repeats
    values = map(str, known.values)
    return sorted(zip(names, *(c.tolist() for c in columns), values, strict=True))


def test_shards_hold_the_prepared_events_and_the_items_of_all(tmp_path: Path) -> None:
    whole = table()
    shards, report = written(parts(whole), tmp_path / "shards")
    expected = in_memory(whole)
    assert shards.item_ids == expected.item_ids and shards.action_names == expected.action_names
    assert sorted(chain.from_iterable(map(facts, shards.all()))) == facts(expected)
    assert len(shards) == len(expected) == report.kept < report.rows == 1500
    memory = InMemoryData(expected)
    assert np.array_equal(shards.seen_items(), memory.seen_items()) and not shards.seen_items()[0]
    for name in ("means", "deviations", "range"):
        assert getattr(shards.scales(), name) == pytest.approx(getattr(memory.scales(), name))
    assert facts(shards.sample()) == facts(expected)
    assert (np.diff(shards.sample().time_ms) >= 0).all()


def test_an_epoch_takes_every_event_once_in_another_order(tmp_path: Path) -> None:
    shards, _ = written(parts(table(), 8), tmp_path / "shards")
    rng = np.random.default_rng(0)
    first, second = ([(facts(e)[0], share) for e, share in shards.chunks(rng)] for _ in range(2))
    assert sorted(first) == sorted(second) and first != second
    assert sum(share for _, share in first) == pytest.approx(1)


def test_the_latest_tenth_is_the_same_as_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table()
    shards, _ = written(parts(whole), tmp_path / "shards")
    monkeypatch.setattr(models.data.shards, "_SNAPSHOTS", 10**6)
    latest, expected = shards.split_latest(0.1), InMemoryData(in_memory(whole)).split_latest(0.1)
    assert latest is not None and expected is not None
    assert np.array_equal(latest.events.time_ms[latest.held_out], expected.events.time_ms[expected.held_out])
    assert np.array_equal(latest.seen_items, expected.seen_items)
    earlier = [part for part, _ in latest.earlier.chunks(np.random.default_rng(0))]
    assert sorted(chain.from_iterable(map(facts, earlier))) == facts(expected.earlier)
    moments = expected.events.time_ms[expected.held_out][::20]
    exact = models.data.shards.PopularityHistory.of(expected.events, 3, snapshots=10**6)
    np.testing.assert_allclose(latest.popularity(3).at(moments), exact.at(moments), rtol=1e-4)
    assert shards.split_latest(0.0) is None


def test_a_sample_is_of_whole_users_and_the_same_each_time(tmp_path: Path) -> None:
    shards, _ = written(parts(table()), tmp_path / "shards", sample=400)
    sample = shards.sample()
    assert 100 < len(sample) < 900 and facts(sample) == facts(shards.sample())
    chosen = {sample.user_ids[user] for user in sample.users}
    everything = list(chain.from_iterable(map(facts, shards.all())))
    assert facts(sample) == sorted(fact for fact in everything if fact[0] in chosen)


def test_shards_with_another_key_are_not_read(tmp_path: Path) -> None:
    shards, _ = written(parts(table(200)), tmp_path / "shards")
    assert Shards.read(tmp_path / "shards", "other", 1) is None and Shards.read(tmp_path, "key", 1) is None
    again, _ = written(parts(table(200)), tmp_path / "again")
    other, _ = written(parts(table(201)), tmp_path / "other")
    assert again.fingerprint() == shards.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("name", [models.data.shards.MANIFEST, models.data.shards.ARRAYS])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"PK\x03\x04"])
def test_damaged_shards_are_written_again(tmp_path: Path, name: str, content: bytes | None) -> None:
    """numba 10434: an empty or damaged file in a cache ended every later run."""
    written(parts(table()), tmp_path / "shards")
    if content is None:
        (tmp_path / "shards" / name).unlink()
    else:
        (tmp_path / "shards" / name).write_bytes(content)
    assert Shards.read(tmp_path / "shards", "key", 1) is None
    written(parts(table()), tmp_path / "shards")


def test_errors_name_what_cannot_be_prepared_or_learned(tmp_path: Path) -> None:
    nothing = Table(["u"], ["i"], ["dance"], np.array([1]), np.array([np.nan]))
    with pytest.raises(NothingToLearn):
        written([nothing], tmp_path / "nothing")
    with pytest.raises(PreparationImpossible, match="min_item_events"):
        write_shards([], ITEMS, Actions(ACTIONS), PreparationSettings(min_item_events=5), tmp_path, "key", 1)
    assert Shards.read(tmp_path / "nothing", "key", 1) is None


@pytest.mark.drill
def test_a_model_learns_from_shards_like_from_memory(tmp_path: Path) -> None:
    """Users walk around a circle of items, so the next one can be predicted. Chance is a loss of log 25."""
    rows = [(u, step) for step in range(20) for u in range(USERS)]
    walks = Table(
        [f"u{u}" for u, _ in rows],
        [f"i{(u + step) % 25}" for u, step in rows],
        ["view"] * len(rows),
        10**12 + np.array([step * HOUR + u for u, step in rows]),
        np.full(len(rows), np.nan),
    )
    settings = TrainSettings(
        encoders=EncoderSettings(text_model=str(text_model(tmp_path / "text"))),
        width=16, channels=16, hidden=32, history=8, refold_every=4, batch=4, epochs=10, final_epochs=2,
        learning_rate=0.01, dropout=0.0, id_dropout=0.0,
        long_term_weight=0.0, mixture_steps=4, actions=ACTIONS, version=1, threads=1, cache=tmp_path / "vectors",
    )  # fmt: skip
    shards, _ = written(parts(walks), tmp_path / "shards")
    losses = [
        train_on(learned, ITEMS, settings, tmp_path / name).metrics["encoder_loss"]
        for name, learned in (("disk", shards), ("memory", in_memory(walks)))
    ]
    assert max(losses) < 0.5 * np.log(25)


def test_an_interrupted_training_from_shards_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = TrainSettings(
        encoders=EncoderSettings(text_model=str(text_model(tmp_path / "text"))),
        width=8, channels=8, hidden=8, history=8, refold_every=4, batch=30, epochs=2, final_epochs=1, mixture_steps=2,
        actions=ACTIONS, version=1, threads=1, cache=tmp_path / "vectors",
    )  # fmt: skip
    shards, _ = written(parts(table(600), 3), tmp_path / "shards")
    whole = train_on(shards, ITEMS, settings, tmp_path / "whole")
    # Stops in the second and in the third shard of an epoch, and then not at all.
    for looks in (5, 6, 10**6):
        checkpoint = Checkpoint(tmp_path / "checkpoint", StopAt(looks))
        with suppress(TrainingStopped):
            again = train_on(shards, ITEMS, settings, tmp_path / "again", checkpoint=checkpoint)
    assert again.files == whole.files
