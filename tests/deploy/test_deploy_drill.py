"""The running Compose file: what a web page, an app and a backend get, and what Prometheus scrapes."""

import subprocess
from typing import Any

import pytest
import yaml

from local.servers.valkey import valkey_server
from tests.deploy.compose_file import PASSWORD
from tests.deploy.compose_world import World
from tests.deploy.dockerfile_build import CHECKOUT

pytestmark = pytest.mark.drill
PAGE = "http://localhost:5173"
RECOMMEND = "/v1/users/ann:recommend"


@pytest.fixture(scope="module")
def filled(running: World) -> World:
    """The world with items in the catalogue."""
    assert running.ask("put_items", "20") == 20

    for _ in range(40):
        if running.ask("through_json", "GET", "/v1/items/item-19")["status"] == 200:
            return running
    raise AssertionError("the items did not come")


def test_a_page_gets_lists_as_json(filled: World) -> None:
    answer = filled.ask("through_json", "POST", RECOMMEND, '{"count": 3}')
    assert answer["status"] == 200 and len(answer["body"]["slate"]["items"]) == 3
    assert answer["headers"]["access-control-allow-origin"] == PAGE


def test_a_page_is_told_what_is_wrong_with_a_request(filled: World) -> None:
    answer = filled.ask("through_json", "POST", RECOMMEND, '{"count": -3}')
    (violation,) = [each for each in answer["body"]["details"] if "fieldViolations" in each]
    assert answer["status"] == 400 and violation["fieldViolations"][0]["field"] == "count"


def test_a_page_s_stream_sends_a_line_of_json_after_an_event(filled: World) -> None:
    first, second = filled.ask("json_stream", "bob")
    assert len(first["frame"]["snapshot"]["slate"]["items"]) == 3
    assert second["frame"]["causedBy"][0]["eventId"] == "e-1"
    assert "item-1" not in [item["itemId"] for item in second["frame"]["snapshot"]["slate"]["items"]]


def test_a_page_gets_lists_by_grpc_web(filled: World) -> None:
    answer = filled.ask("grpc_web", "ann")
    assert answer["type"] == "application/grpc-web+proto" and len(answer["items"]) == 3
    assert answer["flag"] == 0x80 and "grpc-status:0" in answer["trailers"]


@pytest.mark.parametrize("path", [RECOMMEND, "/recstream.v1.RecommendationService/Recommend"])
def test_only_named_origins_may_call(filled: World, path: str) -> None:
    assert filled.ask("preflight", path, PAGE)["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in filled.ask("preflight", path, "https://elsewhere.example")


def test_an_app_speaks_grpc_and_sees_its_own_events(filled: World) -> None:
    answer = filled.ask("mobile", "cat")
    assert len(answer["items"]) == 3 and "item-2" not in answer["items"] and len(answer["causes"]) == 1


def test_one_connection_carries_more_streams_than_http_2_s_usual_hundred(filled: World) -> None:
    assert filled.ask("crowd", "130") == {"lists": 130, "call": 3}


def test_envoy_refuses_calls_that_are_for_backends(filled: World) -> None:
    closed = dict.fromkeys(("PutItems", "GetProfile", "EraseProfile"), "UNIMPLEMENTED")
    assert filled.ask("refused", "8080") == closed and filled.ask("refused", "8081") == closed
    for method, path in (
        ("POST", "/v1/items"),
        ("GET", "/v1/users/ann/profile"),
        ("POST", "/v1/users/ann:nope"),
    ):
        assert filled.ask("through_json", method, path)["status"] == 404


def test_a_bundle_is_published_from_the_folder_of_training(filled: World) -> None:
    done = filled.once("publish")
    assert done.returncode == 0 and "answers 100% of the users" in done.stdout, done.stdout + done.stderr
    assert filled.ask("tier", "ann") == "RANKED"


def test_prometheus_finds_metrics_at_every_target(filled: World) -> None:
    config = yaml.safe_load((CHECKOUT / "deploy/prometheus/prometheus.yml").read_text())
    wanted = {
        "recstream-server": "recstream_ranking_list_seconds",
        "recstream-ingest": "recstream_ingest_lag_records",
        "triton": "nv_inference_request_success",
        "envoy": "envoy_cluster_upstream_rq_total",
    }
    for job in config["scrape_configs"]:
        if job["job_name"] == "prometheus":
            continue
        host, port = _target(job)
        found = filled.ask("scrape", host, port, job.get("metrics_path", "/metrics"))
        assert found["status"] == 200 and wanted[job["job_name"]] in found["figures"], job


def test_the_store_asks_for_its_password_and_no_process_shows_it(filled: World) -> None:
    assert "NOAUTH" in filled.ask("valkey_without_password")
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert valkey_server().name in shown
    for line in shown.splitlines():
        if "valkey-server" in line and "env -i" not in line:
            assert PASSWORD not in line


def _target(job: dict[str, Any]) -> tuple[str, str]:
    if "dns_sd_configs" in job:
        return job["dns_sd_configs"][0]["names"][0], str(job["dns_sd_configs"][0]["port"])
    host, _, port = job["static_configs"][0]["targets"][0].partition(":")
    return host, port
