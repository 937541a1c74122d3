"""Kubernetes accepts everything that the chart renders."""

import subprocess
from pathlib import Path

import pytest

from tests.helm.chart import CHART, NAMESPACE, RELEASE, ROOT, VALUES, helm, missing

# The whole matrix: every values file, in every version of Kubernetes.
pytestmark = pytest.mark.drill

ENVIRONMENT = ROOT / ".envs" / "kubernetes"
CRDS = ROOT / ".cache" / "crds"
KUBERNETES = ("1.30.0", "1.33.0", "1.36.0")
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication", "GRPCRoute"}
UNKNOWN = "Couldn't find schema for kind "

MONITOR = """\
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {{name: m}}
spec:
  selector: {{}}
  endpoints: [{{port: http, {field}}}]
"""


@pytest.fixture(scope="module")
def python() -> Path:
    if not (ENVIRONMENT / "installed").is_file():
        missing("kubernetes-validate", ".envs/kubernetes/installed")
    return ENVIRONMENT / "bin" / "python"


@pytest.fixture(scope="module")
def crds(python: Path) -> Path:
    if not list(CRDS.glob("*.yaml")):
        pytest.skip("the definitions of custom resources are not there: make .cache/crds/installed, with Go")
    return CRDS


@pytest.fixture(scope="module", params=VALUES, ids=lambda file: file.name)
def manifest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a file with everything that one values file renders."""
    done = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(request.param))
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    file = tmp_path_factory.mktemp("manifest") / request.param.with_suffix(".out.yaml").name
    file.write_text(done.stdout)
    return file


@pytest.mark.parametrize("file", VALUES, ids=lambda file: file.name)
def test_the_linter_finds_nothing(file: Path) -> None:
    done = helm("lint", "--strict", "--quiet", str(CHART), "--values", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout.strip() and not done.stderr.strip()


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(manifest: Path, version: str, python: Path) -> None:
    said = validated(python, version, manifest)
    strangers = {line.partition(UNKNOWN)[2].split()[0] for line in said if UNKNOWN in line}
    assert strangers <= CUSTOM
    assert not [line for line in said if UNKNOWN not in line]


def test_a_field_that_does_not_exist_is_found(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIPs: [], portz: []}\n")
    assert any("portz" in line for line in validated(python, KUBERNETES[-1], file))


def test_custom_resources_match_their_definitions(manifest: Path, python: Path, crds: Path) -> None:
    done = checked(python, crds, manifest)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_custom_kind_is_rendered_by_some_values_file(crds: Path) -> None:
    text = "".join(helm("template", RELEASE, str(CHART), "--values", str(file)).stdout for file in VALUES)
    assert not [kind for kind in CUSTOM if f"\nkind: {kind}\n" not in text]


@pytest.mark.parametrize(
    ("field", "fault"),
    [("intervall: 30s", "intervall"), ("honorLabels: maybe", "honorLabels"), ("interval: soon", "interval")],
)
def test_a_nonsense_service_monitor_is_found(
    field: str, fault: str, python: Path, crds: Path, tmp_path: Path
) -> None:
    file = tmp_path / "monitor.yaml"
    file.write_text(MONITOR.format(field="interval: 30s"))
    assert checked(python, crds, file).returncode == 0
    file.write_text(MONITOR.format(field=field))
    done = checked(python, crds, file)
    assert done.returncode == 1 and fault in done.stdout, done.stdout + done.stderr


def test_a_kind_without_a_definition_is_named(python: Path, crds: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("apiVersion: example.com/v1\nkind: Other\nmetadata: {name: o}\n")
    assert checked(python, crds, file).stdout == "unchecked: Other example.com/v1\n"


def validated(python: Path, version: str, file: Path) -> list[str]:
    """Returns the lines of kubernetes-validate, one for each warning or failure."""
    command = [str(python.with_name("kubernetes-validate")), "-k", version, "--strict", "--quiet", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    assert lines or done.returncode == 0
    return lines


def checked(python: Path, crds: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """Returns the output of tests/helm/custom_resources.py."""
    command = [str(python), str(ROOT / "tests" / "helm" / "custom_resources.py"), str(crds), str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
