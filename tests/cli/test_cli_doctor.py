"""The doctor reports what is missing, what to do, and which servers answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.doctor import machine
from cli.doctor.finding import Finding, Level
from cli.doctor.machine import examine
from cli.doctor.reach import reach
from configuration.settings import Settings
from local.errors import NotInstalled
from local.installation import with_installation
from local.servers.kafka import EmbeddedKafka
from local.servers.ports import free_port
from local.servers.valkey import EmbeddedValkey
from topics.create import create_topics
from topics.settings import KafkaSettings


def _by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_this_machine_can_run_everything(tmp_path: Path) -> None:
    missing = [finding for finding in examine(tmp_path, tmp_path) if finding.level is Level.MISSING]
    assert missing == []


def test_missing_parts_come_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Path:
        raise NotInstalled("no java")

    monkeypatch.setattr(machine, "java_runtime", gone)
    monkeypatch.setenv("RECSTREAM_TRITON_ENV", str(tmp_path / "none"))
    findings = _by_name(list(examine(tmp_path, tmp_path)))
    java = findings["Kafka's Java runtime"]
    assert (java.level, java.found) == (Level.MISSING, "no java")
    assert java.to_do
    assert findings["Triton and libpython"].level is Level.MISSING


def test_a_taken_port_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_free", lambda port: False)
    port = _by_name(list(examine(tmp_path, tmp_path)))["port 9092 for Kafka"]
    assert port.level is Level.NOTE
    assert "another" in port.to_do


async def test_servers_that_answer_and_servers_that_do_not_are_reported(
    kafka: EmbeddedKafka, valkey: EmbeddedValkey, prefix: str, tmp_path: Path
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap": kafka.bootstrap, "topic_prefix": prefix, "partitions": 1},
            "store": {"addresses": [valkey.address]},
            "triton": {"address": nobody},
        }
    )
    without_topics = [finding async for finding in reach(settings, tmp_path)]
    assert without_topics[0].level is Level.NOTE
    assert "missing" in without_topics[0].found
    await create_topics(settings.kafka, settings.profiles.time_to_live_days)
    kafka_now, versions_now, valkey_now, triton_now, _ = [
        finding async for finding in reach(settings, tmp_path)
    ]
    assert kafka_now.level is Level.OK
    assert versions_now.found == "none is published"
    assert valkey_now.level is Level.OK
    assert triton_now.level is Level.NOTE
    assert nobody in triton_now.what


def test_the_ports_of_the_last_stack_are_checked_unless_an_address_is_set(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "ports.json").write_text('{"kafka": 20123}')
    assert with_installation(Settings(), tmp_path).kafka.bootstrap == "127.0.0.1:20123"
    chosen = Settings(kafka=KafkaSettings(bootstrap="broker:9092"))
    assert with_installation(chosen, tmp_path).kafka.bootstrap == "broker:9092"


@pytest.mark.drill
def test_the_command_prints_json_and_fails_if_something_is_missing(tmp_path: Path) -> None:
    def run(**extra: str) -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "doctor", "--json", "--data", str(tmp_path)],
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": ".:protos",
                "RECSTREAM_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_port()}",
                **extra,
            },
            timeout=100,
            check=False,
        )
        document: dict[str, object] = json.loads(done.stdout)
        return done.returncode, document

    status, document = run()
    assert (status, document["healthy"]) == (0, True)
    status, document = run(RECSTREAM_TRITON_ENV=str(tmp_path / "none"))
    assert (status, document["healthy"]) == (1, False)
