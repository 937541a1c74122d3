"""`recstream surfaces` as an operator uses it, on real Kafka."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.errors import CommandError
from local.servers.kafka import EmbeddedKafka
from rollout.errors import SurfacesChanged, SurfacesRefused, VersionNotKept
from topics.create import create_topics
from topics.settings import KafkaSettings

pytestmark = pytest.mark.usefixtures("collected")
HOME = "default: {nearest: 50}\nsurfaces:\n  home: {rules: {diversity: 0.3}}\n"


@pytest.fixture
def environment(kafka: EmbeddedKafka, prefix: str) -> dict[str, str]:
    asyncio.run(create_topics(KafkaSettings(bootstrap=kafka.bootstrap, topic_prefix=prefix), 1))
    return {
        "RECSTREAM_KAFKA__BOOTSTRAP": kafka.bootstrap,
        "RECSTREAM_KAFKA__TOPIC_PREFIX": prefix,
        "COLUMNS": "160",
    }


def run(environment: dict[str, str], *arguments: str, status: int = 0) -> str:
    answer = CliRunner().invoke(
        app, ["surfaces", *map(str, arguments)], env=environment, catch_exceptions=False
    )
    assert answer.exit_code == status, answer.output
    return answer.stdout


def test_a_file_is_tried_applied_shown_changed_and_gone_back_from(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "surfaces.yaml"
    file.write_text(HOME)
    assert "No version was applied" in run(environment, "history")
    tried = run(environment, "apply", file, "--dry-run")
    assert "+  home:" in tried and "--- settings" in tried
    assert "No version is in force" in run(environment, "show")
    assert "version 1 is applied" in run(environment, "apply", file, "-m", "more\nvariety", "--by", "ann")
    assert "nothing was changed" in run(environment, "apply", file)
    assert run(environment, "diff", file) == ""
    shown = run(environment, "show")
    assert (
        shown.startswith("# version 1, ") and ", ann: more\\nvariety\n" in shown.splitlines(keepends=True)[0]
    )
    file.write_text(shown.replace("0.3", "0.4"))  # What `show` prints is a file to change.
    assert "+      diversity: 0.4" in run(environment, "diff", file, status=1)
    run(environment, "apply", file, "--base", "1")
    with pytest.raises(SurfacesChanged, match="from version 1, but version 2"):
        run(environment, "apply", file, "--base", "1")
    assert "version 3 is applied" in run(environment, "rollback", "1")
    assert "diversity: 0.3" in run(environment, "show") and "0.4" in run(
        environment, "show", "--version", "2"
    )
    with pytest.raises(VersionNotKept, match="there are: 1, 2, 3"):
        run(environment, "rollback", "9")
    assert "version 4 is applied" in run(environment, "reset")
    assert "It puts the settings in force" in run(environment, "show")
    found = json.loads(run(environment, "history", "--json"))
    assert [(each["version"], each["settings"]) for each in found["versions"]] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
    ]
    assert found["versions"][2]["comment"] == "back to version 1" and found["refused"] == []


def test_the_surfaces_of_the_settings_are_a_file_without_asking_kafka(tmp_path: Path) -> None:
    environment = {
        "RECSTREAM_RANKING__SURFACES": '{"home": {"fresh": 3}}',
        "RECSTREAM_KAFKA__BOOTSTRAP": "127.0.0.1:1",
    }
    assert "fresh: 3" in run(environment, "show", "--settings")
    with pytest.raises(CommandError, match="--settings and --version"):
        run(environment, "show", "--settings", "--version", "1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("surfaces: {home: {nearst: 5}}", r"surfaces\.home\.nearst"),
        (
            "surfaces: {home: {action_weights: {liek: 2}}}",
            r"surfaces\.home\.action_weights\.liek: there is no such",
        ),
        ("default: {action_weights: {liek: 2}}", r"default\.action_weights\.liek"),
    ],
)
def test_a_wrong_file_is_refused_before_kafka_is_asked(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "surfaces.yaml"
    file.write_text(text)
    nowhere = {"RECSTREAM_KAFKA__BOOTSTRAP": "127.0.0.1:1"}
    for command in ("apply", "diff"):
        with pytest.raises(SurfacesRefused, match=reason):
            run(nowhere, command, file)
    with pytest.raises(SurfacesRefused, match="cannot read"):
        run(nowhere, "apply", tmp_path / "missing.yaml")
    file.write_text(HOME)
    with pytest.raises(CommandError, match="--comment has"):
        run(nowhere, "apply", file, "-m", "x" * 2_000)
