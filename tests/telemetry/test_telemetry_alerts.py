"""Each alert fires in a unit test of promtool, and does not fire in a healthy system."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.telemetry.world import PROMTOOL, needs_prometheus

ALERTS = Path(__file__).parents[2] / "helm" / "recstream" / "files" / "alerts"
TESTS = sorted((Path(__file__).parent / "alerts").glob("*_test.yaml"))
NAMES = {
    rule["alert"]
    for group in yaml.safe_load((ALERTS / "recstream.yaml").read_text())["groups"]
    for rule in group["rules"]
}


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        [PROMTOOL, *arguments], cwd=ALERTS, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_the_rules_are_well_formed() -> None:
    assert f"{len(NAMES)} rules found" in promtool("check", "rules", "recstream.yaml")


@needs_prometheus
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_unit_tests_of_the_rules_pass(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))


def test_every_alert_has_a_test_that_it_fires_and_a_test_that_it_stays_quiet() -> None:
    fires, quiet = set(), set()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                if case["exp_alerts"]:
                    fires.add(case["alertname"])
                elif test["name"] == "all is well":
                    quiet.add(case["alertname"])
    assert fires == quiet == NAMES
