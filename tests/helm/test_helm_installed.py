"""The chart in a real API server: `make test-kubernetes`, which builds one first.

A server refuses what no check of files finds: names that are taken, fields that do not go together, Jobs that change.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm_chart import CHART, ROOT, VALUES, rendered, tool
from kubernetes_world import NAMES, PROGRAMS, Kubernetes, Object, until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
CRDS = ROOT / ".cache" / "crds"
UNITS = {"m": "0.001", "k": "1e3", "M": "1e6", "G": "1e9", "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
AUTOSCALING = next(file for file in VALUES if file.name.startswith("autoscaling"))
GONE = {"models": {"persistence": {"keep": False}}}


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    tool("helm")
    if lacking := [name for name in NAMES if not (PROGRAMS / name).is_file()]:
        pytest.fail(f"{', '.join(lacking)} of Kubernetes not built: make test-kubernetes")
    found = Kubernetes(tmp_path_factory.mktemp("kubernetes"))
    try:
        found.start()
        for file in sorted(CRDS.glob("*.yaml")):
            for definition in yaml.safe_load_all(file.read_text()):
                if definition:
                    found.define(definition)
        yield found
    finally:
        found.kill()


@pytest.fixture
def namespace(kubernetes: Kubernetes, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"n{abs(hash(request.node.nodeid)) % 10**8}"
    kubernetes.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    kubernetes.call("DELETE", f"/api/v1/namespaces/{name}")


def helm(kubernetes: Kubernetes, verb: str, namespace: str, *more: str, values: Any = None) -> str:
    """What helm says on standard output; it must have nothing to warn of."""
    done = kubernetes.helm(tool("helm"), verb, "rel", *more, "--namespace", namespace, values=values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    return done.stdout


def install(kubernetes: Kubernetes, namespace: str, file: Path, values: Mapping[str, Any] = GONE) -> None:
    helm(kubernetes, "install", namespace, str(CHART), "--values", str(file), values=values)


def specs(kubernetes: Kubernetes, namespace: str, *kinds: str) -> dict[tuple[str, str], Any]:
    """What the chart said of each object of ours: all but metadata and status; of these kinds, or of all."""
    return {
        key: {name: value for name, value in each.items() if name not in ("metadata", "status")}
        for key, each in kubernetes.objects(namespace).items()
        if (not kinds or key[0] in kinds) and each["metadata"].get("labels", {}).get("helm.sh/chart")
    }


@pytest.mark.parametrize("file", VALUES, ids=lambda file: file.name)
def test_every_object_is_accepted_and_kept_as_it_was_sent(
    file: Path, kubernetes: Kubernetes, namespace: str
) -> None:
    install(kubernetes, namespace, file)
    live = kubernetes.objects(namespace)
    for sent in rendered(file, values={**GONE, "namespaceOverride": namespace}):
        if sent["kind"] == "ConfigMap" and sent["metadata"]["name"].endswith("-extra"):
            continue  # the user's own, with a namespace of its own
        key = sent["kind"], sent["metadata"]["name"]
        assert key in live or sent["kind"] == "Job", key
        if key in live:
            for name in set(sent) - {"metadata", "apiVersion", "kind"}:
                differs = difference(sent[name], live[key][name], name)
                assert differs is None, f"{key}: {differs}"


def test_deployments_make_pods_and_budgets_count_them(kubernetes: Kubernetes, namespace: str) -> None:
    install(kubernetes, namespace, AUTOSCALING)

    def counted() -> bool:
        found = kubernetes.objects(namespace)
        pods = [each for key, each in found.items() if key[0] == "Pod"]
        budget = found["PodDisruptionBudget", "rel-recstream-catalogue"].get("status", {})
        return bool(pods) and budget.get("expectedPods") == 2

    until(counted, "no pods, or not counted")


def test_an_upgrade_changes_what_its_values_changed_and_a_rollback_restores_it(
    kubernetes: Kubernetes, namespace: str
) -> None:
    install(kubernetes, namespace, AUTOSCALING)
    before = specs(kubernetes, namespace)
    changed = {**GONE, "server": {"drainSeconds": 12}}
    helm(kubernetes, "upgrade", namespace, str(CHART), "--values", str(AUTOSCALING), values=changed)
    after = specs(kubernetes, namespace)
    assert set(after) == set(before)
    assert {key for key in after if after[key] != before[key]} == {
        ("ConfigMap", "rel-recstream-server"), ("Deployment", "rel-recstream-server"),
    }  # fmt: skip
    helm(kubernetes, "rollback", namespace, "1")
    assert specs(kubernetes, namespace) == before


def test_an_upgrade_leaves_the_number_of_servers_to_the_autoscaler(
    kubernetes: Kubernetes, namespace: str
) -> None:
    install(kubernetes, namespace, AUTOSCALING)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/rel-recstream-server"
    kubernetes.call("PATCH", f"{path}/scale", {"spec": {"replicas": 8}}, "application/merge-patch+json")
    changed = {**GONE, "server": {"preStopSeconds": 15}}
    helm(kubernetes, "upgrade", namespace, str(CHART), "--values", str(AUTOSCALING), values=changed)
    assert kubernetes.call("GET", path)["spec"]["replicas"] == 8


def test_jobs_give_way_to_others_when_they_change(kubernetes: Kubernetes, namespace: str) -> None:
    install(kubernetes, namespace, AUTOSCALING)
    first = {name for kind, name in specs(kubernetes, namespace, "Job")}
    changed = {**GONE, "kafka": {"partitions": 24}}
    helm(kubernetes, "upgrade", namespace, str(CHART), "--values", str(AUTOSCALING), values=changed)
    assert first and not first & {name for kind, name in specs(kubernetes, namespace, "Job")}


def test_the_server_refuses_what_is_no_kubernetes(kubernetes: Kubernetes, namespace: str) -> None:
    wrong = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "wrong"},
        "spec": {"ports": [{"port": 70_000}]},
    }
    done = kubernetes.helm(
        tool("helm"), "install", "rel", str(CHART), "--namespace", namespace, values={"extraObjects": [wrong]}
    )
    assert done.returncode != 0 and "70000" in done.stderr


def test_nothing_is_left_after_uninstalling(kubernetes: Kubernetes, namespace: str) -> None:
    install(kubernetes, namespace, AUTOSCALING)
    assert kubernetes.objects(namespace)
    helm(kubernetes, "uninstall", namespace)
    until(lambda: not kubernetes.objects(namespace), f"left: {sorted(kubernetes.objects(namespace))}")


def test_the_models_outlive_the_release(kubernetes: Kubernetes, namespace: str) -> None:
    install(kubernetes, namespace, AUTOSCALING, {})
    helm(kubernetes, "uninstall", namespace)
    kept = ("PersistentVolumeClaim", "rel-recstream-models")
    until(lambda: set(kubernetes.objects(namespace)) == {kept}, "something else is left")


def difference(sent: Any, live: Any, where: str) -> str | None:
    """Where the server has something other than was sent. What it added is its own; what is empty may be left out."""
    if isinstance(sent, dict):
        if not isinstance(live, dict):
            return where
        pairs = [(value, live.get(name), f"{where}.{name}") for name, value in sent.items()]
    elif isinstance(sent, list):
        if not isinstance(live, list) or len(live) != len(sent):
            return where if sent or live else None
        pairs = [
            (one, other, f"{where}[{number}]")
            for number, (one, other) in enumerate(zip(sent, live, strict=True))
        ]
    else:
        return None if same(sent, live) else f"{where}: {sent!r}, and now {live!r}"
    found = (difference(*pair) for pair in pairs if pair[0] not in ({}, [], None, "", False, 0) or pair[1])
    return next((each for each in found if each is not None), None)


def same(sent: Object | Any, live: Any) -> bool:
    """Equal, or the same quantity in other words."""
    return bool(sent == live or (quantity(sent) is not None and quantity(sent) == quantity(live)))


def quantity(text: Any) -> Decimal | None:
    """1Gi, 2000, 2k."""
    text = str(text)
    for unit in sorted(UNITS, key=len, reverse=True):
        if text.endswith(unit):
            text, factor = text.removesuffix(unit), Decimal(UNITS[unit])
            break
    else:
        factor = Decimal(1)
    try:
        return Decimal(text) * factor
    except InvalidOperation:
        return None
