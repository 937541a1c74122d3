"""Every log line of our processes is one JSON document, whichever library writes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from telemetry.tracing.exporting import spans_of

ROOT = Path(__file__).parents[2]
SAYS = """
import logging
import sys
import structlog
from telemetry.logs import configure_logs

configure_logs()
log = structlog.get_logger()
from telemetry.tracing.traced import traced
from telemetry.tracing.settings import TracingSettings
from telemetry.tracing.spans import Followed, Origin, SpanKind, child
from telemetry.tracing.w3c import parse

with traced(TracingSettings(exporter="file", file=sys.argv[1]), "test"):
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with Followed("batch", SpanKind.CONSUMER, [Origin(parse(header))]), child("step"):
        log.info("traced")
        logging.getLogger("aiokafka").warning("traced too")
log.info("server_ready", items=3, name="two\\nlines \\u00e9 \\ud83d\\ude00")
structlog.contextvars.bind_contextvars(stream=7)
log.warning("call_failed", cause=repr(OSError("no")), raw=b"\\xff", where={1: object()})
try:
    password = "secret of a user"
    raise ValueError("within")
except ValueError:
    log.exception("call_crashed", number="ab")
    logging.getLogger("aiokafka").exception("a library says %s", "so")
logging.getLogger("aiokafka").info("not said")
log.debug("not said")
"""


def test_every_line_is_json_with_its_event_level_time_and_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYS, tmp_path / "traces.jsonl"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "PYTHONUTF8": "1"},
    )
    assert done.stdout == ""
    *traced, _, _, _, _ = lines = [json.loads(line) for line in done.stderr.splitlines()]
    (step,) = [
        span
        for line in (tmp_path / "traces.jsonl").read_text().splitlines()
        for span in spans_of(json.loads(line))
        if span["name"] == "step"
    ]
    assert [line["event"] for line in traced] == ["traced", "traced too"]
    assert all((line["trace_id"], line["span_id"]) == (step["traceId"], step["spanId"]) for line in traced)
    lines = lines[len(traced) :]
    assert not any("trace_id" in line for line in lines)
    assert [line["event"] for line in lines] == [
        "server_ready",
        "call_failed",
        "call_crashed",
        "a library says so",
    ]
    assert [line["level"] for line in lines] == ["info", "warning", "error", "error"]
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[0]["name"] == "two\nlines é 😀" and lines[1]["stream"] == 7
    assert lines[3]["logger"] == "aiokafka"
    for crashed in lines[2:]:
        (raised,) = crashed["exception"]
        assert raised["exc_type"] == "ValueError" and raised["exc_value"] == "within"
        assert "secret" not in json.dumps(crashed)
