"""Files on a command line: the same options for every command, and the reports of what was read."""

import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from cli.app import app
from cli.errors import CommandError
from cli.file_options import FileOptions, with_file_options
from cli.terminal.reports import preparation_table, report_table
from models.data.preparation import PreparationReport, Step
from readers.errors import UnreadableFile
from readers.items.images import with_images
from readers.items.item_cells import Image
from readers.report import Report
from recstream.v1 import item_pb2

T0 = 1_700_000_000
RUN = CliRunner()


def test_a_command_with_file_options_takes_them_all_after_its_own() -> None:
    seen: list[tuple[FileOptions, int]] = []

    @with_file_options
    def command(options: FileOptions, count: Annotated[int, typer.Option()] = 1) -> None:
        seen.append((options, count))

    one = typer.Typer()
    one.command()(command)
    flags = [
        "--count",
        "3",
        "--format",
        "sequences",
        "--ties",
        "file",
        "--column",
        "user=who",
        "--tie-seed",
        "4",
    ]
    assert RUN.invoke(one, flags).exit_code == 0
    assert RUN.invoke(one, []).exit_code == 0
    assert RUN.invoke(one, ["--ties", "never"]).exit_code != 0
    options, count = seen[0]
    assert (options.format, options.ties, options.columns, options.tie_seed, count) == (
        "sequences",
        "file",
        {"user": "who"},
        4,
        3,
    )
    assert seen[1] == (FileOptions(), 1)


def test_each_file_of_a_command_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "toys.txt").write_text("1 5 4 3\n2 4 5\n")
    (tmp_path / "toys.json").write_text(json.dumps({"5": [1, 2], "9": [2]}))
    files = FileOptions(format="sequences").read([tmp_path / "toys.txt"], [tmp_path / "toys.json"])
    assert len(files.interactions) == 5 and not files.interactions.timed
    assert [item.item_id for item in files.items] == ["5", "9"]
    assert [report.format for report in files.reports] == ["attributes", "sequences"]
    assert len(FileOptions().read([], [tmp_path / "toys.json"]).interactions) == 0


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"none\.csv: there is no such file"):
        FileOptions().read([tmp_path / "none.csv"])
    with pytest.raises(typer.BadParameter, match="expected WHAT=NAME"):
        FileOptions(column=["user"]).read([tmp_path / "none.csv"])


def test_a_dry_import_reports_what_it_would_send(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(f"userId,movieId,rating,timestamp\n1,10,5,{T0}\n1,11,9,{T0}\n")
    answer = RUN.invoke(app, ["import", "--interactions", str(tmp_path / "r.csv"), "--dry-run", "--json"])
    assert answer.exit_code == 0, answer.output
    (file,) = json.loads(answer.stdout)["files"]
    assert (file["format"], file["rows"], file["kept"]) == ("movielens", 2, 1)
    assert file["findings"]["value outside 0.5 to 5"]["lines"] == [3]


def test_a_share_by_time_is_refused_for_files_without_times(tmp_path: Path) -> None:
    (tmp_path / "toys.txt").write_text("1 5 4 3\n2 4 5\n")
    flags = ["--interactions", str(tmp_path / "toys.txt"), "--format", "sequences", "--until", "0.9"]
    answer = RUN.invoke(app, ["train", *flags, "--bundle", str(tmp_path / "bundle")])
    assert isinstance(answer.exception, CommandError) and "these files have none" in answer.exception.what


def shown(what: object) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_reports_are_tables_in_a_terminal() -> None:
    report = Report("e.csv", rows=10, kept=8, format="events", notes=["times read as seconds"])
    report.add("duplicate", "left out", [3, 9])
    assert all(
        part in shown(report_table(report)) for part in ("8 of 10 rows", "times read", "duplicate", "3, 9")
    )
    preparation = PreparationReport(10, 7, [Step("rare", "left out", 3, 2, 1)], 5, 4)
    assert all(
        part in shown(preparation_table(preparation)) for part in ("7 of 10 events", "rare", "5 events; 4")
    )


def test_images_are_sent_with_their_items_and_unreadable_ones_are_counted(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"\x89PNG")
    (tmp_path / "big.png").write_bytes(bytes(600_000))
    items = [item_pb2.Item(item_id=name) for name in "abcdef"]
    images = {
        "a": Image(str(tmp_path / "1.png")),
        "b": Image(content=b"GIF8"),
        "c": Image("https://shop/c.jpg"),
        "d": Image(str(tmp_path / "none.png")),
        "e": Image(str(tmp_path / "big.png")),
    }
    report = Report("images")
    sent = [[media.content for media in item.media] for item in with_images(items, images, report)]
    assert sent == [[b"\x89PNG"], [b"GIF8"], [], [], [], []]
    assert {kind: finding.lines for kind, finding in report.findings.items()} == {
        "image at a URL": [3],
        "image file is missing": [4],
        "image larger than 512 KiB": [5],
    }
    assert not items[0].media, "the list itself stays small"
