"""Errors that the user can act on are text for a terminal. Bugs in the code are not."""

import os
import subprocess
import sys

import pytest

from cli.errors import CommandError, terminal_text
from configuration.errors import ConfigurationError
from inference.errors import BundleRefused
from ingest.errors import StillBehind
from local.errors import PortTaken
from models.errors import NothingToLearn
from profiles.errors import StoreUnavailable
from readers.errors import UnreadableFile
from recstream.client.errors import RecstreamError
from rollout.errors import TransitionRefused
from topics.errors import KafkaUnreachable


@pytest.mark.parametrize(
    ("error", "what", "next_step"),
    [
        (CommandError("a", "b"), "a", "b"),
        (ConfigurationError("kafka.bootstrap is empty", "set it"), "kafka.bootstrap is empty", "set it"),
        (
            TransitionRefused("no version is published", "publish one"),
            "no version is published",
            "publish one",
        ),
        (PortTaken("port 9092 is taken"), "port 9092 is taken", ""),
        (UnreadableFile("a.csv: empty"), "a.csv: empty", ""),
        (NothingToLearn("no event"), "no event", ""),
        (
            StoreUnavailable("no answer"),
            "no answer",
            "check that Valkey runs, and RECSTREAM_STORE__ADDRESSES",
        ),
        (RecstreamError("unavailable"), "unavailable", "`recstream doctor` says what is reachable"),
    ],
)
def test_an_error_has_what_happened_and_what_to_do(error: Exception, what: str, next_step: str) -> None:
    assert terminal_text(error) == (what, next_step)


def test_a_subclass_is_shown_like_the_errors_of_its_room() -> None:
    text = terminal_text(KafkaUnreachable("broker:9092", "timeout"))
    assert text is not None and "broker:9092" in text[0] and "doctor" in text[1]
    for error in (BundleRefused("manifest.json", "missing"), StillBehind("ingest", "interactions", 7, 60)):
        assert terminal_text(error) == (str(error), "")


def test_a_group_shows_the_first_error_that_the_user_can_act_on() -> None:
    group = ExceptionGroup(
        "tasks", [ValueError("ours"), ExceptionGroup("inner", [PortTaken("port 1 is taken")])]
    )
    assert terminal_text(group) == ("port 1 is taken", "")


def test_a_bug_in_the_code_has_no_text() -> None:
    assert terminal_text(ValueError("ours")) is None
    assert terminal_text(ExceptionGroup("tasks", [KeyError("ours")])) is None


def test_what_a_command_logs_is_not_part_of_its_answer() -> None:
    program = (
        "import structlog, cli.__main__ as command\n"
        "def app(prog_name):\n"
        "    structlog.get_logger().info('little')\n"
        "    structlog.get_logger().warning('much')\n"
        "    print('{}')\n"
        "command.app = app\n"
        "command.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "PYTHONPATH": ".:protos"},
    )  # fmt: skip
    assert done.stdout == "{}\n"
    assert "much" in done.stderr and "little" not in done.stderr
