"""A real API server with the definitions of the chart's custom resources, for the tests marked `kubernetes`."""

import itertools
from collections.abc import Iterator

import pytest
import yaml

from tests.helm.chart import ROOT, Loader, tool
from tests.helm.kubernetes_namespace import Namespace
from tests.helm.kubernetes_world import PROGRAMS, SERVERS, Kubernetes

CRDS = ROOT / ".cache" / "crds"
NUMBERS = itertools.count(1)
# A resource of clusters with GPUs.
NVIDIA = {"metadata": {"name": "nvidia"}, "handler": "nvidia"}


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    if lacking := [name for name in (*SERVERS, "kubectl") if not (PROGRAMS / name).is_file()]:
        pytest.fail(f"{', '.join(lacking)} of Kubernetes not built: make test-kubernetes")
    definitions = [
        each for file in sorted(CRDS.glob("*.yaml")) for each in yaml.load_all(file.read_text(), Loader)
    ]
    if not definitions:
        pytest.fail("the definitions of custom resources are not there: make .cache/crds/installed")
    try:
        tool("helm")
    except pytest.skip.Exception as skipped:
        pytest.fail(str(skipped))
    found = Kubernetes(tmp_path_factory.mktemp("kubernetes"))
    try:
        found.start()
        for definition in filter(None, definitions):
            found.define(definition)
        found.call("POST", "/apis/node.k8s.io/v1/runtimeclasses", NVIDIA)
        found.call("POST", "/api/v1/namespaces", {"metadata": {"name": "monitoring"}})
        yield found
    finally:
        found.kill()


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[Namespace]:
    found = Namespace(kubernetes, f"shop-{next(NUMBERS)}")
    yield found
    found.leave()
