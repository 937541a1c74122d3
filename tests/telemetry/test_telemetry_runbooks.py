"""The runbooks are true: their commands, settings, log lines, metrics and links exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from cli.app import app
from configuration.reference import settings_of
from configuration.settings import Settings, variable
from telemetry.dashboards.expressions import problems
from telemetry.dashboards.metrics import every
from topics.names import Topics

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(FOLDER.glob("Recstream*.md"))
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load(
        (ROOT / "helm" / "recstream" / "files" / "alerts" / "recstream.yaml").read_text()
    )["groups"]
    for rule in group["rules"]
}
SETTINGS = list(settings_of(Settings))
SOURCE = "\n".join(
    path.read_text()
    for room in (
        "catalog",
        "cli",
        "inference",
        "ingest",
        "local",
        "profiles",
        "ranking",
        "rollout",
        "server",
        "telemetry",
        "topics",
    )
    for path in (ROOT / room).rglob("*.py")
)
HTTP = {f"localhost:{port}{path}" for port in (50052, 9100) for path in ("/livez", "/readyz", "/metrics")}
COMPONENTS = {"server", "ingest", "triton", "valkey"}
VERBS = {"get", "describe", "logs", "top", "port-forward", "scale", "rollout"}


def blocks(page: Path, kind: str) -> list[str]:
    """Returns the lines of the page's code blocks of this kind."""
    found = re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.S)
    return [line for block in found for line in block.splitlines() if line]


def spans(page: Path) -> list[str]:
    """Returns the text between backticks in the page's prose."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]


def run_by_hand(line: str) -> None:
    """Raises if one of our own commands does not take these arguments."""
    tokens = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("recstream", ["--help"], resilient_parsing=True)
    while isinstance(command, TyperGroup):
        name = tokens.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"recstream has no command {name}"
        command = found
    if tokens != ["--help"]:
        command.make_context(command.name, tokens, parent=context)


def kubectl(line: str) -> None:
    """Fails if a line names an object that the chart does not create."""
    words = shlex.split(line)[1:]
    assert words[0] in VERBS, line
    for name in re.findall(r"\brecstream-[\w-]+", line):
        assert name in ("recstream-server", "recstream-ingest", "recstream-quality"), line
    for component in re.findall(r"app\.kubernetes\.io/component=(\w+)", line):
        assert component in COMPONENTS, line
    flags = {word.split("=")[0] for word in words if word.startswith("-")}
    assert flags <= {"-l", "--tail", "--replicas", "--sort-by"}, line
    for port in re.findall(r" (\d+)$", line) if words[0] == "port-forward" else ():
        assert port == ("9100" if "ingest" in line else "50052"), line


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {page.stem for page in PAGES} == set(RULES)
    for name, rule in RULES.items():
        assert ROOT / rule["annotations"]["runbook"] == FOLDER / f"{name}.md"


def test_the_list_of_runbooks_is_complete_and_has_the_descriptions_of_the_alerts() -> None:
    text = (FOLDER / "README.md").read_text()
    for name, rule in RULES.items():
        says = rule["annotations"]["description"].rstrip(".")
        assert f"| [{name}]({name}.md) | {rule['labels']['severity']} | {says} |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_exists(page: Path) -> None:
    lines = blocks(page, "sh")
    inline = [span for span in spans(page) if re.match(r"(bin/)?recstream |kubectl \w+ ", span)]
    assert lines and page.read_text().startswith(f"# {page.stem}\n\n")
    for line in (*lines, *inline):
        match line.split()[0]:
            case "bin/recstream" | "recstream":
                run_by_hand(line)
            case "kubectl":
                kubectl(line)
            case "curl":
                assert shlex.split(line)[1:2] == ["-s"] and shlex.split(line)[2] in HTTP, line
            case "kafka-console-consumer.sh":
                assert line.split("--topic ")[1].split()[0] in Topics().all, line
            case other:
                pytest.fail(f"{other} is not known here")


@pytest.mark.parametrize(
    "line", ["bin/recstream topics adopt --nope", "bin/recstream mend", "bin/recstream recommend"]
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(Exception, match="No such option|has no command|Missing parameter"):
        run_by_hand(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_query_uses_existing_metrics(page: Path) -> None:
    for query in blocks(page, "promql"):
        assert not list(problems(query, every())), query


@pytest.mark.parametrize("page", [*PAGES, FOLDER / "README.md"], ids=lambda page: page.stem)
def test_every_name_and_link_exists(page: Path) -> None:
    variables = {variable(setting.path) for setting in SETTINGS} | {"RECSTREAM_CONFIG"}
    dotted = {setting.name for setting in SETTINGS}
    rooms = {name.split(".")[0] for name in dotted if "." in name}
    for span in spans(page):
        for name in re.findall(r"RECSTREAM_\w+", span):
            assert name in variables, span
        if re.fullmatch(r"[a-z]+\.[a-z_]+", span) and span.split(".")[0] in rooms:
            assert span in dotted, span
        if re.fullmatch(r"[a-z]+(_[a-z]+)+", span):
            assert span in every() or span in SOURCE, span
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_sentences_that_the_runbooks_quote_from_readyz_exist() -> None:
    text = (FOLDER / "RecstreamIngestNotReady.md").read_text() + (
        FOLDER / "RecstreamServerNotReady.md"
    ).read_text()
    for said in ("was recreated", "were deleted before they were read", "the profile store is empty",
                 "records can be used", "the bundle of model version", "a batch is tried again",
                 "is being read", "is shutting down"):  # fmt: skip
        assert said in text and said in SOURCE, said


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_kubectl_knows_the_verbs(verb: str) -> None:
    try:
        said = subprocess.run(["kubectl", verb, "--help"], capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("kubectl is not on PATH")
    assert said.returncode == 0, said.stderr
