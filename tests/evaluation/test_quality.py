"""`make quality` resumes an interrupted run, and its page has the measured figures."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import evaluation.quality.trained as trained_module
from configuration.settings import Settings
from evaluation.baselines.popularity import Popularity
from evaluation.data import Data
from evaluation.metrics.measure import Measured, measure
from evaluation.protocols.split import Excluded, split
from evaluation.quality.machine import machine
from evaluation.quality.page import page, write_page
from evaluation.quality.run import Plan, Quality, QualityResults
from evaluation.quality.trained import Trainer
from evaluation.report.results import Result
from evaluation.result_cache import ResultCache, key_of
from models.data.events import ItemText
from tests.evaluation.world import ACTIONS, crowd, known
from tests.models.tiny_bundle import text_model


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    text = text_model(tmp_path_factory.mktemp("text") / "model")
    train = {
        "encoders": {"text_model": str(text)}, "width": 8, "channels": 16, "hidden": 16, "epochs": 1, "final_epochs": 1,
        "threads": 1,
        "mixture_steps": 2, "version": 3,
    }  # fmt: skip
    return Settings.model_validate(
        {"train": train, "profiles": {"history": 8, "refold_every": 4, "actions": ACTIONS}}
    )


@pytest.fixture(scope="module")
def data() -> Data:
    events = known(crowd(users=30))
    return Data(events, [ItemText(item, f"film {item}") for item in events.item_ids])


def hidden() -> Progress:
    return Progress(disable=True)


def quality(settings: Settings, data: Data, folder: Path, out: io.StringIO | None = None) -> Quality:
    plan = Plan(folder, (0, 1), ("popularity", "item-knn"))
    return Quality(settings, plan, Console(file=out or io.StringIO()), hidden, data, published="nothing")


@pytest.mark.drill
def test_an_interrupted_run_resumes_and_writes_the_page(
    settings: Settings, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[int] = []
    real = trained_module.train_on

    def train_on(training_events, items, wanted, bundle, progress):  # type: ignore[no-untyped-def]
        if len(trainings) == 2:
            trainings.append(-1)
            raise KeyboardInterrupt
        trainings.append(wanted.seed)
        return real(training_events, items, wanted, bundle, progress)

    monkeypatch.setattr(trained_module, "train_on", train_on)
    with pytest.raises(KeyboardInterrupt):
        quality(settings, data, tmp_path).run()
    said = io.StringIO()
    made = quality(settings, data, tmp_path, said).run()
    # Two trainings per seed: leave-one-out has its own, the other two protocols share one. And one for hidden items.
    assert trainings == [0, 1, -1, 0, 1, 0] and len(made.training_seconds) == 5
    assert "Training for leave-one-out" not in said.getvalue() and "Training for next-item" in said.getvalue()
    again = io.StringIO()
    same = quality(settings, data, tmp_path, again).run()
    assert len(trainings) == 6 and "seed" not in again.getvalue()
    for one, other in zip(made.results, same.results, strict=True):
        assert json.dumps(one.as_dict()) == json.dumps(other.as_dict())

    write_page(tmp_path / "docs" / "quality.md", made, machine())
    written = (tmp_path / "docs" / "quality.md").read_text()
    for result in made.results:
        assert f"## {result.protocol}" in written
        assert [row.name for row in result.rows] == [
            "recstream",
            "recstream-retrieval",
            "recstream-int8",
            "popularity",
            "item-knn",
        ]
        assert [row.seeds for row in result.rows] == [2, 2, 2, 1, 1]
        assert f"{result.rows[0].figures['ndcg@10']:.4f}" in written
    assert (tmp_path / "docs" / "quality.svg").read_text().count("<rect") == 15
    assert made.cold is not None and f"{made.cold.hidden} items, a tenth of all, are hidden" in written
    tables = [line for line in written.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables) and machine() in written


def test_the_page_counts_all_that_is_left_out() -> None:
    result = Result("leave-one-out", "default", 1, 1, 1, Excluded(101, 202, 303).as_dict(), [])
    written = page(QualityResults([result], [], 1, {}, [], 1, None), "a machine", "quality.svg")
    assert all(f": {count}." in written for count in (101, 202, 303))


def test_a_truncated_result_is_measured_again(data: Data, tmp_path: Path) -> None:
    found = split(data.known, "future")
    row = measure(found, Popularity(found.known, found.training, None))
    calls: list[int] = []

    def now() -> list[Measured]:
        calls.append(1)
        return [row]

    kept = ResultCache(tmp_path)
    assert kept.get_or_measure("key", now)[0] is row
    again = kept.get_or_measure("key", now)[0]
    assert len(calls) == 1 and again.name == "popularity" and again.novelty == row.novelty
    np.testing.assert_array_equal(again.figures, row.figures)
    whole = (tmp_path / "key.npz").read_bytes()
    (tmp_path / "key.npz").write_bytes(whole[: len(whole) // 2])
    assert kept.get_or_measure("key", now)[0] is row and len(calls) == 2


def damaged(whole: bytes) -> list[bytes]:
    flipped = [bytearray(whole) for _ in range(0, len(whole), 29)]
    for at, each in zip(range(0, len(whole), 29), flipped, strict=True):
        each[at] ^= 0xFF
    return [b"", b"PK", b"no archive", *(whole[:at] for at in range(0, len(whole), 61)), *map(bytes, flipped)]


def test_whatever_is_wrong_with_a_kept_result_it_is_measured_again(data: Data, tmp_path: Path) -> None:
    """numba 10434: an empty or damaged file in the cache ended every later run, until somebody removed it."""
    found = split(data.known, "future")
    row = measure(found, Popularity(found.known, found.training, None))
    kept, path = ResultCache(tmp_path), tmp_path / "key.npz"
    kept.get_or_measure("key", lambda: [row])
    again = 0
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        [read] = kept.get_or_measure("key", lambda: [row])
        assert read.name == row.name
        again += read is row
    assert again > 20 and [each.name for each in tmp_path.iterdir()] == ["key.npz"]


def test_two_runs_that_measure_the_same_at_once_both_have_it(data: Data, tmp_path: Path) -> None:
    """cachew 90: the second of two writers found its temporary file gone, after hours of work."""
    found = split(data.known, "future")
    row = measure(found, Popularity(found.known, found.training, None))
    kept = ResultCache(tmp_path)

    def beside_another() -> list[Measured]:
        with ThreadPoolExecutor() as other:
            writing = [other.submit(kept.get_or_measure, "key", lambda: [row]) for _ in range(8)]
            assert all(each.result()[0].name == row.name for each in writing)
        return [row]

    assert kept.get_or_measure("key", beside_another)[0] is row
    assert kept.get_or_measure("key", lambda: pytest.fail("it is kept"))[0].name == row.name
    assert [each.name for each in tmp_path.iterdir()] == ["key.npz"]


def test_keys_differ_if_any_part_differs() -> None:
    assert key_of("a", {"b": 1, "c": None}) == key_of("a", {"c": None, "b": 1})
    assert len({key_of("a", 1), key_of("a", "1"), key_of("a1"), key_of("a", {"b": 1}), key_of("a", [1])}) == 5
    # Streamlit 16559: parts that were joined without a mark between them had one key.
    assert (
        len({key_of("doc1", "acme"), key_of('doc1", "acme'), key_of('doc1"\0"acme'), key_of("doc1acme")}) == 4
    )
    # numpy shortens large arrays to a text that many share: what JSON does not know is no part of a key.
    with pytest.raises(TypeError):
        key_of(np.arange(10_000))


@pytest.mark.drill
def test_parallel_trainings_equal_sequential_ones(
    settings: Settings, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO())
    together, alone = (
        Trainer(settings, tmp_path / name, data, console, hidden) for name in ("together", "alone")
    )
    together.train([("leave-one-out", 0), ("leave-one-out", 1)], jobs=2)
    one = alone.trained("leave-one-out", 1)
    monkeypatch.setattr(trained_module, "train_on", None)  # nothing is left to be trained
    two = together.trained("leave-one-out", 1)
    together.train([("leave-one-out", 0), ("leave-one-out", 1)], jobs=2)
    assert one.key == two.key
    graphs = [sorted((t.folder / "triton").rglob("model.onnx")) for t in (one, two)]
    assert graphs[0] and [g.read_bytes() for g in graphs[0]] == [g.read_bytes() for g in graphs[1]]
