"""`recstream evaluate --served`: what the private stack is told, and what is said of its lists. The stack itself runs
in tests/drills/test_drill_served.py."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.app import app
from cli.input.files import FileForm, Files, read_files
from cli.served import row as served_row
from cli.served.agreement import Agreement
from cli.served.items import catalogue
from cli.served.private import private
from cli.served.run import Plan, check_taken
from cli.served.told import interaction, turns
from configuration.errors import CommandError
from configuration.settings import Settings
from evaluation.baselines.popularity import Popularity
from evaluation.data import data_of
from evaluation.methods.listed import sampled
from evaluation.protocols.parts import PROTOCOLS, Protocol
from evaluation.protocols.split import split, training_part
from evaluation.protocols.visible import told
from models.data.events import Floats, Ints
from profiles.folding.events import Event, Position
from profiles.folding.fold import fold
from profiles.interactions import event
from readers.interactions.interactions import Interactions
from recstream.v1 import item_pb2
from tests.evaluation.world import crowd, known, liked
from tests.models.tiny_bundle import build

LATER = 10**12


def moved(rows):
    return [(user, item, action, at + LATER, value) for user, item, action, at, value in rows]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("requests", [5, 10_000])
def test_before_each_ask_the_stack_knows_what_the_evaluation_counts(
    protocol: Protocol, requests: int
) -> None:
    test = sampled(split(known(moved(crowd())), protocol), requests)
    order = turns(test)
    assert (np.diff(order.rows) > 0).all() and (np.diff(order.before) >= 0).all()
    assert order.before[-1] == len(order.rows)
    # Over so long a half-life an event weighs 1: the sums are counts.
    counted = Popularity(test.known, told(test) & test.known.positive, 1e9).scores(test.asks)
    for place, before in enumerate(order.before.tolist()):
        rows = order.rows[:before]
        liked_rows = rows[test.known.positive[rows]]
        counts = np.bincount(test.known.items[liked_rows], minlength=len(test.known.item_ids))
        np.testing.assert_allclose(counts, counted[place], rtol=1e-5)
        own = rows[test.known.users[rows] == test.asks.users[place]]
        np.testing.assert_array_equal(own, test.asks.before[place])


def test_without_times_everything_is_told_before_the_first_ask() -> None:
    test = split(known(moved(crowd()), timed=False), "leave-one-out")
    order = turns(test)
    assert (order.before == len(order.rows)).all() and len(order.rows) == told(test).sum()


def test_events_of_one_moment_are_folded_in_the_order_of_the_evaluation() -> None:
    events = known([("ann", item, "rate", LATER, 4.0) for item in "zyxcba"])
    records: list[Event] = [
        event(interaction(events, row), Position(b"t" * 16, row, 0), LATER) for row in range(len(events))
    ]
    folded = fold(None, "ann", records[::-1], Settings().profiles).profile.history
    assert [entry.item_id for entry in folded] == [events.item_ids[item] for item in events.items]


@given(st.decimals(min_value="0.5", max_value="5", places=2))
def test_a_value_is_sent_as_it_was_written(value) -> None:
    events = known([("ann", "a", "rate", LATER, float(value))])
    assert interaction(events, 0).value == float(value)


def test_an_event_without_a_value_is_sent_without_one() -> None:
    events = known([("ann", "a", "view", LATER, np.nan)])
    assert not interaction(events, 0).HasField("value")


def test_items_that_only_events_name_are_in_the_catalogue_too() -> None:
    films = [item_pb2.Item(item_id="a", title="A"), item_pb2.Item(item_id="b", title="x" * 100_000)]
    files = Files(Interactions.of([], [], [], np.zeros(0, np.int64)), films, [])
    found = list(catalogue(files, ["a", "b", "c"]))
    assert [item.item_id for item in found] == ["a", "b", "c"]
    assert [item.title for item in found] == ["A", "", ""]
    with pytest.raises(CommandError, match="no server would take the item"):
        list(catalogue(files, ["a" * 300]))


def test_an_event_that_no_server_would_take_is_named() -> None:
    events = known([*moved(liked("ann", "ab")), ("undefined", "c", "rate", LATER, 4.0)])
    settings = private(Settings(), Path("bundle"), Path("folder"), LATER)
    check_taken(known(moved(liked("ann", "ab"))), settings)
    with pytest.raises(CommandError, match="user 'undefined' on item 'c': user_id"):
        check_taken(events, settings)


def test_the_private_stack_is_the_product_but_for_time(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"profiles": {"history": 32}, "ranking": {"surfaces": {"evaluation": {"nearest": 5}}}}
    )
    found = private(settings, tmp_path / "bundle", tmp_path, LATER)
    assert found.server.as_of and not settings.server.as_of
    assert found.catalog.popularity_seconds == 0
    assert found.profiles.history == 32 and found.ranking.surface("evaluation").nearest == 5
    # Events of 2001 are kept as if they were of today.
    assert found.profiles.time_to_live_days > 365 + 20 * 365
    assert private(settings, tmp_path, tmp_path, 10**14).profiles.time_to_live_days == 365


@pytest.mark.parametrize(
    ("served", "offline", "agrees"),
    [(0.25, 0.25, True), (0.2549, 0.25, True), (0.2451, 0.25, True), (0.2551, 0.25, False),
     (0.2449, 0.25, False), (0.0, 0.0, True), (0.1, 0.0, False)],
)  # fmt: skip
def test_two_percent_are_the_most(served: float, offline: float, agrees: bool) -> None:
    for name in ("hr@10", "ndcg@10"):
        figures = {"hr@10": (0.3, 0.3), "ndcg@10": (0.2, 0.2)} | {name: (served, offline)}
        found = Agreement(figures, 10, 20)
        assert found.agrees is agrees
        assert agrees or (name.upper() in found.sentence() and "differ" in found.sentence())
        assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["agrees"] is agrees


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interactions, and a bundle that says it was trained on what comes before the last tenth of them."""
    folder = tmp_path_factory.mktemp("served")
    rows = moved(crowd(length=14))
    lines = [f"{user},{item},rate,{at},{value}" for user, item, _, at, value in rows]
    head = "user_id,item_id,action,timestamp,rating"
    (folder / "interactions.csv").write_text("\n".join([head, *lines]) + "\n")
    build(folder / "bundle", sorted({item for _, item, *_ in rows}))
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    events = data_of(read_files([folder / "interactions.csv"], (), FileForm()), Settings()).known
    manifest["data_fingerprint"] = training_part(events, "next-item").fingerprint()
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    return folder


def run(files: Path, *more: str, protocol: str = "next-item"):
    return CliRunner().invoke(
        app,
        ["evaluate", "--interactions", str(files / "interactions.csv"), "--bundle", str(files / "bundle"),
         "--work", str(files / "work"), "--protocol", protocol, "--served", "--served-requests", "20", *more],
        catch_exceptions=False, env={"COLUMNS": "120"},
    )  # fmt: skip


def composed(plan: Plan) -> Floats:
    """What the evaluation composes for the plan, without what is taken."""
    from evaluation.data import composition, item_texts
    from evaluation.methods.composition import Composition
    from evaluation.methods.served_model import BundleModel
    from inference.bundle.bundle import read

    texts = item_texts(plan.files)
    model = BundleModel(read(plan.bundle), plan.test.known.item_ids, texts)
    scores = Composition(plan.test, texts, model, composition(plan.settings)).scores(plan.test.asks)
    for place in range(len(scores)):
        scores[place, plan.test.taken(place)] = -np.inf
    return scores


def test_lists_that_agree_are_a_row_more(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def agreeing(plan: Plan) -> list[Ints]:
        assert len(plan.test.asks) == 20 < plan.held_out
        return list(np.argsort(-composed(plan), axis=1)[:, :10])

    monkeypatch.setattr(served_row, "served_lists", agreeing)
    answer = run(files, "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    rows = {row["name"]: row for row in found["models"]}
    assert list(rows) == ["recstream", "recstream-retrieval", "recstream-served", "popularity"]
    assert found["asks"] == found["served"]["requests"] == 20 < found["served"]["held_out"]
    assert rows["recstream-served"]["ndcg@10"] == pytest.approx(rows["recstream"]["ndcg@10"])
    assert "hr@20" not in rows["recstream-served"] and "hr@20" in rows["recstream"]
    assert found["served"]["agrees"] and found["served"]["hr@10"]["difference"] == 0
    table = run(files)
    assert "Through the front door" in table.output and "+0.00%" in table.output


def test_lists_that_differ_are_shown_and_fail(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def differing(plan: Plan) -> list[Ints]:
        lists = np.argsort(-composed(plan), axis=1)[:, :10]
        return [np.setdiff1d(items, wanted) for items, wanted in zip(lists, plan.test.relevant, strict=True)]

    monkeypatch.setattr(served_row, "served_lists", differing)
    with pytest.raises(CommandError, match="differ by more than 2%.*NDCG@10 by -100.00%"):
        run(files)


def test_hidden_items_are_not_asked_of_a_server(files: Path) -> None:
    with pytest.raises(CommandError, match="leave --served out"):
        run(files, protocol="cold-items")
