"""`recstream events check` says what ingest would make of a file, line by line, before anything is sent."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from profiles.times import timestamp
from recstream.v1.interaction_pb2 import Interaction

NOW_MS = int(time.time() * 1000)
FINE = {"user_id": "42", "item_id": "1193", "action": "like", "eventTime": NOW_MS, "event_id": "e-1"}


def check(path: Path, *options: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["events", "check", str(path), *options], env={"COLUMNS": "160"})
    return answer.exit_code, answer.stdout


def report(path: Path) -> tuple[int, dict[str, Any]]:
    status, text = check(path, "--json")
    return status, json.loads(text)


def lines(path: Path, *events: object) -> Path:
    path.write_text("".join(json.dumps(event) + "\r\n" for event in events) + "\n")
    return path


def test_a_file_of_good_events_is_accepted_by_action(tmp_path: Path) -> None:
    status, found = report(
        lines(tmp_path / "events.jsonl", FINE, FINE, {**FINE, "action": "rate", "value": 4})
    )
    assert status == 0
    assert (found["records"], found["actions"], found["refused"]) == (3, {"like": 2, "rate": 1}, {})


def test_each_reason_has_its_first_lines_and_what_to_do(tmp_path: Path) -> None:
    wrong = {**FINE, "eventTime": NOW_MS // 1000, "page": "home"}
    status, found = report(lines(tmp_path / "events.jsonl", FINE, *[wrong] * 5))
    assert status == 1
    assert found["refused"] == {"event_time": 5} and found["unknown_fields"] == {"page": 5}
    examples = found["examples"]["event_time"]
    assert [example["place"] for example in examples] == ["line 2", "line 3", "line 4"]
    assert "looks like seconds" in examples[0]["detail"] and '"1193"' in examples[0]["value"]
    status, text = check(tmp_path / "events.jsonl")
    assert status == 1 and "6 records, 1 accepted, 5 refused" in text and "page (5)" in text


def test_what_is_passed_over_and_which_clocks_are_ahead_is_said(tmp_path: Path) -> None:
    ahead = {**FINE, "eventTime": NOW_MS + 86_400_000}
    later = {"user_id": "42", "merge": {"from": "visitor-7"}}
    seen = {"user_id": "42", "impression": {"item_ids": [1193, 1194]}}
    path = lines(tmp_path / "events.jsonl", FINE, ahead, later, seen)
    status, found = report(path)
    assert status == 0 and found["actions"] == {"like": 2, "impression": 1}
    assert (found["passed_over"], found["clocks_ahead"], found["unknown_fields"]) == (1, 1, {"merge": 1})
    _, text = check(path)
    assert "4 records, 3 accepted, 0 refused" in text and "does not know, passed over: 1" in text
    assert "clocks that are ahead, moved to their record's time: 1" in text


def test_unknown_actions_are_named_and_are_no_failure(tmp_path: Path) -> None:
    path = lines(tmp_path / "events.jsonl", FINE, {**FINE, "action": "liek"}, {**FINE, "action": "liek"})
    status, found = report(path)
    assert status == 0 and found["actions"] == {"like": 1} and found["unknown_actions"] == {"liek": 2}
    _, text = check(path)
    assert "3 records, 1 accepted, 0 refused" in text and "count nothing: liek (2)" in text


ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "userId": "ann",
    "timestamp": "2023-11-14T22:13:20Z",
    "properties": {"products": [{"product_id": "shoe-17"}, {"product_id": "shoe-18"}]},
}


def test_a_mapping_is_tried_and_shows_what_each_record_becomes(tmp_path: Path) -> None:
    page = {**ORDER, "type": "page", "event": None}
    empty = {**ORDER, "properties": {}}
    path = lines(tmp_path / "segment.jsonl", ORDER, page, empty, FINE)
    status, text = check(path, "--mapping", "segment", "--json")
    found = json.loads(text)
    assert status == 1 and found["refused"] == {"item_id": 1} and found["unknown_actions"] == {"page": 1}
    assert "mapping segment, element 0: item_id is missing" in found["examples"]["item_id"][0]["detail"]
    first, second, third = found["became"]
    assert first["place"] == "line 1" and [event["item"] for event in first["events"]] == [
        "shoe-17",
        "shoe-18",
    ]
    assert first["events"][0] == {
        "user": "ann",
        "action": "purchase",
        "item": "shoe-17",
        "time": "2023-11-14T22:13:20.000+00:00",
        "event_id": "m-1-0",
    }
    assert second == {"place": "line 2", "events": []}
    assert [event["item"] for event in third["events"]] == ["1193"]
    _, text = check(path, "--mapping", "segment")
    assert "shoe-18" in text and "m-1-1" in text and "counts nothing" in text


def test_records_of_a_known_producer_are_told_which_mapping_takes_them(tmp_path: Path) -> None:
    """Without a mapping, some of them look like events of a later release."""
    row = {
        "event_name": "view_item",
        "event_timestamp": "1",
        "user_pseudo_id": "1.2",
        "items": [{"item_id": "a"}],
    }
    path = lines(tmp_path / "foreign.jsonl", ORDER, row, {"userId": "ann", "merge": {"from": "bob"}}, [], "x")
    _, found = report(path)
    assert found["actions"] == {} and found["fitting_mappings"] == {"segment": 1, "ga4": 1}
    assert "takes (--mapping NAME): segment (1), ga4 (1)" in check(path)[1]
    assert json.loads(check(path, "--mapping", "segment", "--json")[1])["fitting_mappings"] == {"ga4": 1}


def test_mappings_of_the_settings_hold_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"name": "ours", "when": "deed", "fields": {"userId": "who", "itemId": "what", "action": "deed"}}
    monkeypatch.setenv("RECSTREAM_INGEST__MAPPINGS", json.dumps(["segment", ours]))
    path = lines(tmp_path / "mixed.jsonl", ORDER, {"who": "ann", "what": "A", "deed": "like"})
    status, found = report(path)
    assert (status, found["actions"]) == (0, {"purchase": 2, "like": 1})
    answer = CliRunner().invoke(app, ["events", "check", str(path), "--mapping", "outs"])
    assert answer.exit_code == 1 and "there is no mapping 'outs'" in str(answer.exception)


def test_a_file_that_is_not_text_is_one_record(tmp_path: Path) -> None:
    event = Interaction(user_id="ann", item_id="a", action="view", event_time=timestamp(NOW_MS))
    (tmp_path / "event.bin").write_bytes(b"\0\0\0\0\7\0" + event.SerializeToString())
    status, found = report(tmp_path / "event.bin")
    assert (status, found["records"], found["actions"]) == (0, 1, {"view": 1})
