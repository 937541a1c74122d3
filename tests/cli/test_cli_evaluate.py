"""`recstream evaluate`: tables and JSON for a bundle, and its messages when it cannot measure."""

import asyncio
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.app import app
from cli.commands.evaluate import with_surfaces
from cli.errors import CommandError
from cli.file_options import FileOptions
from cli.terminal.evaluation_tables import any_table, result_tables
from configuration.settings import Settings
from evaluation.baselines.popularity import Popularity
from evaluation.data import data_of, list_settings
from evaluation.metrics.measure import measure
from evaluation.protocols.cold import ColdMethodResult, ColdResult
from evaluation.protocols.held_out import Name
from evaluation.protocols.split import split, training_part
from evaluation.report.charts import ndcg_chart
from evaluation.report.results import MeasuredMethod, Result, result
from local.servers.kafka import EmbeddedKafka
from models.data.events import ItemText, texts_fingerprint
from ranking.settings import Surfaces
from rollout.errors import SurfacesRefused
from rollout.surfaces import SurfacesPublisher
from tests.evaluation.world import crowd, known
from tests.models.tiny_bundle import build
from topics.create import create_topics
from topics.settings import KafkaSettings


def recstream(*arguments: str):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interactions, and a bundle that claims to be trained on the events before the last tenth."""
    folder = tmp_path_factory.mktemp("evaluate")
    rows = crowd(length=14)
    lines = [f"{user},{item},rate,{at},{value}" for user, item, _, at, value in rows]
    head = "user_id,item_id,action,timestamp,rating"
    (folder / "interactions.csv").write_text("\n".join([head, *lines]) + "\n")
    items = sorted({item for _, item, *_ in rows})
    build(folder / "bundle", items)
    trained_on(folder, "next-item")
    return folder


def trained_on(folder: Path, protocol: Name) -> None:
    """Makes the bundle claim that it was trained on these events."""
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    read = FileOptions(time_unit="milliseconds").read([folder / "interactions.csv"])
    manifest["data_fingerprint"] = training_part(data_of(read, Settings()).known, protocol).fingerprint()
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest))


def run(files: Path, *more: str, protocol: str = "next-item"):
    return recstream(
        "evaluate", "--interactions", str(files / "interactions.csv"), "--time-unit", "milliseconds",
        "--bundle", str(files / "bundle"), "--work", str(files / "work"), "--protocol", protocol, *more,
    )  # fmt: skip


def test_json_ends_with_one_line_for_the_protocol(files: Path) -> None:
    answer = run(
        files, "--baselines", "popularity,item-knn", "--json", "--picture", str(files / "picture.svg")
    )
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    assert found["protocol"] == "next-item"
    rows = {row["name"]: row for row in found["methods"]}
    assert list(rows) == ["recstream", "recstream-retrieval", "popularity", "item-knn"]
    for row in rows.values():
        assert (
            0 <= row["ndcg@10"] <= row["hr@10"] <= row["hr@20"] <= 1 and len(row["intervals"]["ndcg@10"]) == 2
        )
        assert sum(group["count"] for group in row["by_history"].values()) == found["queries"]
    assert set(rows["recstream"]["above"]) == {"popularity", "item-knn"} and "above" not in rows["popularity"]
    assert "tuned" in rows["popularity"]["note"]
    drawn = ElementTree.parse(files / "picture.svg").getroot()
    assert sum(element.tag.endswith("rect") for element in drawn.iter()) == 4


def test_a_terminal_gets_tables(files: Path) -> None:
    answer = run(files)
    assert answer.exit_code == 0, answer.output
    for part in (
        "next-item",
        "recstream-retrieval",
        "popularity",
        "NDCG@10 by events before the list",
        "coverage",
    ):
        assert part in answer.output


def test_a_bundle_trained_on_other_events_is_refused_with_the_command_to_train_it(
    files: Path,
) -> None:
    (files / "more.csv").write_text(f"user_id,item_id,action,timestamp,rating\nnew,i01,rate,{10**12},5.0\n")
    with pytest.raises(CommandError, match="training part of future") as failure:
        run(files, "--interactions", str(files / "more.csv"), protocol="future")
    assert "recstream train --protocol future" in failure.value.next_step


def test_a_warning_says_that_the_texts_differ_from_those_of_training(files: Path) -> None:
    place = files / "bundle" / "manifest.json"
    before = place.read_text()
    item_ids = json.loads((files / "bundle" / "items.json").read_text())
    try:
        for trained_with, warned in (([], False), ([ItemText(item_ids[0], "a text")], True)):
            manifest = json.loads(before) | {"texts_fingerprint": texts_fingerprint(item_ids, trained_with)}
            place.write_text(json.dumps(manifest))
            answer = run(files)
            assert answer.exit_code == 0, answer.output
            assert ("trained with other texts" in answer.output.replace("\n", " ")) == warned
    finally:
        place.write_text(before)


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--baselines", "magic"), "no baseline is called magic"), (("--int8", "nowhere"), "manifest.json")],
)
def test_missing_files_are_named(files: Path, more: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(files, *more)


def test_hidden_items_are_compared_with_chance(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = {"text_model": str(files / "bundle-text")}
    monkeypatch.setenv("RECSTREAM_TRAIN__ENCODERS", json.dumps(encoder))
    trained_on(files, "cold-items")
    try:
        answer = run(files, "--json", protocol="cold-items")
    finally:
        trained_on(files, "next-item")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    assert found["protocol"] == "cold-items" and found["hidden"] == 3 and 0 < found["chance"]["full"] < 1
    assert [row["name"] for row in found["methods"]] == [
        "recstream", "recstream, with exploration", "recstream-retrieval", "nearest text",
    ]  # fmt: skip
    # All three hidden items fit on a list of ten.
    assert all(row["recall@10:cold"]["mean"] == 1 for row in found["methods"])


def test_the_default_surface_is_measured_unless_another_is_named(files: Path) -> None:
    assert list_settings(Settings()).surface == "default"
    trained_on(files, "next-item")
    for surface, named in (("default", ()), ("evaluation", ("--surface", "evaluation"))):
        answer = run(files, "--baselines", "none", *named, "--json")
        assert answer.exit_code == 0, answer.output
        assert json.loads(answer.stdout.strip().splitlines()[-1])["surface"] == surface
    with pytest.raises(CommandError, match="no surface is called 'shop': there are default, evaluation"):
        run(files, "--surface", "shop")


def test_a_file_of_surfaces_is_measured_instead_of_the_settings(files: Path) -> None:
    trained_on(files, "next-item")
    file = files / "surfaces.yaml"
    file.write_text("surfaces: {shop: {rules: {boosts: [{name: a, filter: category = x, strength: -10}]}}}")
    answer = run(files, "--baselines", "none", "--surfaces", str(file), "--surface", "shop", "--json")
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    assert (found["surface"], found["surfaces"]) == ("shop", str(file))
    file.write_text("surfaces: {shop: {nearst: 1}}")
    with pytest.raises(SurfacesRefused, match="surfaces.shop.nearst"):
        run(files, "--surfaces", str(file), "--surface", "shop")


def test_the_surfaces_in_force_are_measured(kafka: EmbeddedKafka, prefix: str) -> None:
    settings = KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix)
    given = Surfaces.model_validate({"surfaces": {"shop": {"nearest": 7}}})

    async def apply() -> None:
        await create_topics(settings, 1)
        async with SurfacesPublisher(settings) as publisher:
            await publisher.apply(given, applied_by="ann")

    asyncio.run(apply())
    taken, name = with_surfaces(Settings(kafka=settings), "live")
    assert (name, taken.ranking.surface("shop").nearest) == ("version 1", 7)
    assert list_settings(taken, "shop").as_key()["surface"] == given.surface("shop").model_dump(mode="json")
    empty = settings.model_copy(update={"topic_prefix": f"{prefix}none-"})
    asyncio.run(create_topics(empty, 1))
    assert with_surfaces(Settings(kafka=empty), "live")[1] == "settings"


def test_settings_that_change_lists_are_part_of_the_key_of_cached_results() -> None:
    settings = Settings.model_validate(
        {
            "ranking": {
                "default": {"popular": 7},
                "surfaces": {
                    "evaluation": {"nearest": 5, "action_weights": {"rate": 3.0}, "rating_weight": 0.5}
                },
            }
        }
    )
    found = list_settings(settings, "evaluation")
    surface = found.as_key()["surface"]
    assert isinstance(surface, dict)
    assert (surface["nearest"], surface["popular"], surface["similar"]) == (5, 7, 100)
    assert surface["action_weights"] == {"rate": 3.0} and surface["rating_weight"] == 0.5
    assert json.dumps(found.as_key()) != json.dumps(list_settings(Settings(), "evaluation").as_key())
    everything = found.all_items(300).as_key()["surface"]
    assert isinstance(everything, dict)
    assert (everything["nearest"], everything["popular"], everything["category_share"]) == (300, 300, 1)
    assert everything["action_weights"] == {"rate": 3.0}


def test_hidden_items_have_their_own_table(measured: Result) -> None:
    row = measured.rows[0]
    found = ColdResult(
        3, dict.fromkeys(("full", "cold", "warm"), 7), {"full": 0.01, "cold": 0.1, "warm": 0.1},
        [ColdMethodResult(row.name, {"full": 0.05, "cold": 0.3, "warm": 0.4}, {})],
    )  # fmt: skip
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(any_table(found, 80))
    text = console.export_text()
    assert "cold-items" in text and "0.3000" in text and "0.0100" in text and "3 items are hidden" in text


@pytest.fixture
def measured() -> Result:
    events = known(crowd())
    found = split(events, "future")
    popular = Popularity(events, found.training, None)
    chance = Popularity(events, np.zeros(len(events), np.bool_), None)
    chance.name = "recstream & co"  # type: ignore[misc]
    return result(
        found,
        [
            MeasuredMethod(measure(found, chance), False),
            MeasuredMethod(measure(found, popular), True, note="tuned <well>"),
        ],
    )


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(measured: Result, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(result_tables(measured, width))
    text = console.export_text()
    assert "…" not in text and f"{measured.rows[0].figures['ndcg@10']:.4f}" in text
    assert all(len(line) <= width for line in text.splitlines())


def test_the_chart_is_well_formed_and_has_a_bar_for_each_row(measured: Result) -> None:
    drawn = ElementTree.fromstring(ndcg_chart([measured, measured]))
    assert sum(element.tag.endswith("rect") for element in drawn.iter()) == 4
    assert any("recstream & co" in (element.text or "") for element in drawn.iter())


@pytest.mark.parametrize(
    ("picture", "protocol", "message"),
    [("none.svg", "cold-items", "has no chart"), ("interactions.csv/x.svg", "next-item", "cannot write")],
)
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_read(
    files: Path, tmp_path: Path, picture: str, protocol: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        recstream(
            "evaluate", "--interactions", str(tmp_path / "absent.csv"), "--protocol", protocol,
            "--picture", str(files / picture),
        )  # fmt: skip


def test_a_measurement_that_fails_leaves_no_picture(tmp_path: Path, bundle: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("user,item,time\n")
    asked = (
        "--interactions", str(empty), "--protocol", "next-item", "--bundle", str(bundle),
        "--picture", str(tmp_path / "new.svg"),
    )  # fmt: skip
    with pytest.raises(Exception, match="no event"):
        recstream("evaluate", *asked)
    assert not (tmp_path / "new.svg").exists()
