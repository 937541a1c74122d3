"""What an operator does with a release, in a real API server: `make test-kubernetes`.

The commands are read from the pages of the documentation, and run unchanged.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.helm.chart import CHART, ROOT, VALUES, component_of
from tests.helm.kubernetes_namespace import Namespace
from tests.helm.kubernetes_world import Kubernetes, until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
AUTOSCALING = next(file for file in VALUES if file.name.startswith("autoscaling"))
DEFAULTS = next(file for file in VALUES if file.name.startswith("defaults"))
GPU = next(file for file in VALUES if file.name.startswith("gpu"))
INSTALL = "helm install recstream helm/recstream -f values.yaml"
UPGRADE = "helm upgrade recstream helm/recstream -f values.yaml -f more.yaml"
OPERATIONS = ROOT / "docs" / "operations.md"
ALL = {"server", "ingest", "catalogue", "quality", "triton", "kafka", "valkey"}
PUBLISHING = {"Job": 1, "NetworkPolicy": 1}
# They survive a release. docs/operations.md and the README name them.
CLAIM = ("PersistentVolumeClaim", "recstream-models")
BUNDLED = {("PersistentVolumeClaim", f"data-recstream-{name}-0") for name in ("kafka", "valkey")}


def commands(page: Path, verbs: str = "helm (?:install|upgrade|rollback|uninstall)") -> list[str]:
    """Returns the commands of a page, in the order of their first occurrence."""
    return list(dict.fromkeys(re.findall(rf"(?:^|`)({verbs} [^`\n]+)", page.read_text(), re.MULTILINE)))


def revisions(namespace: Namespace) -> Counter[str]:
    """Returns the number of revisions of each component: ReplicaSets, and what StatefulSets keep."""
    return Counter(
        component_of(each)
        for (kind, _), each in namespace.objects().items()
        if kind in ("ReplicaSet", "ControllerRevision")
    )


def test_the_steps_of_the_page_on_operations(kubernetes: Kubernetes, namespace: Namespace) -> None:
    install, publish, upgrade, rollback, uninstall = commands(OPERATIONS)

    namespace.values(AUTOSCALING)
    namespace.run(install)
    namespace.settled()
    installed = namespace.state()
    assert kubernetes.objects("monitoring")  # The dashboards.

    namespace.run(publish)
    published = namespace.state()
    added = set(published) - set(installed)
    assert Counter(kind for kind, _ in added) == PUBLISHING
    assert {key: each for key, each in published.items() if key not in added} == installed

    namespace.run(upgrade)
    assert namespace.state() == installed

    namespace.run(rollback)
    assert namespace.state() == published

    namespace.run(uninstall)
    until(lambda: set(namespace.objects()) == {CLAIM}, "more is left than the models")
    assert not kubernetes.objects("monitoring")


def test_the_steps_of_the_readme(namespace: Namespace) -> None:
    install, publish, publish_no_more = commands(CHART / "README.md")
    namespace.run(install)
    namespace.settled()
    installed = namespace.state()
    namespace.run(publish)
    assert Counter(kind for kind, _ in set(namespace.state()) - set(installed)) == PUBLISHING
    namespace.run(publish_no_more)
    assert namespace.state() == installed


def test_the_notes_say_how_to_publish(namespace: Namespace) -> None:
    namespace.values(DEFAULTS)
    (line,) = re.findall(r"helm .*upgrade .*", namespace.run(INSTALL))
    installed = namespace.state()
    line = line.replace("<chart>", "helm/recstream")
    namespace.run(line.replace("<folder on the models volume>", "/models/training/bundle"))
    assert Counter(kind for kind, _ in set(namespace.state()) - set(installed)) == PUBLISHING


def test_an_upgrade_changes_what_its_values_changed_and_a_rollback_restores_it(namespace: Namespace) -> None:
    namespace.values(AUTOSCALING, {"server": {"drainSeconds": 12}})
    namespace.run(INSTALL)
    namespace.settled()
    before = namespace.state()
    namespace.run(UPGRADE)
    after = namespace.state()
    assert set(after) == set(before)
    assert {key for key in after if after[key] != before[key]} == {
        ("ConfigMap", "recstream-server"), ("Deployment", "recstream-server"),
    }  # fmt: skip
    namespace.run("helm rollback recstream")
    assert namespace.state() == before


def test_only_pods_that_read_a_setting_restart_when_it_changes(namespace: Namespace) -> None:
    namespace.values(DEFAULTS, {"config": {"ranking": {"trending_half_life_hours": 3}}})
    namespace.run(INSTALL)
    namespace.settled()
    before = revisions(namespace)
    assert set(before) == ALL
    namespace.run(UPGRADE)
    namespace.settled()
    assert revisions(namespace) - before == Counter(server=1, quality=1)


def test_a_restart_by_hand_restarts_all_pods_and_an_upgrade_does_not_undo_it(namespace: Namespace) -> None:
    (restart,) = commands(OPERATIONS, "kubectl rollout restart")
    namespace.values(DEFAULTS)
    namespace.run(INSTALL)
    namespace.settled()
    before = revisions(namespace)
    namespace.run(restart)
    until(lambda: revisions(namespace) - before == Counter(ALL), "not all start anew")
    restarted = namespace.state()
    namespace.run(UPGRADE)
    assert namespace.state() == restarted


def test_only_claims_are_left_and_the_next_release_takes_them_over(namespace: Namespace) -> None:
    namespace.values(DEFAULTS)
    namespace.run(INSTALL)
    namespace.settled()
    namespace.run("helm uninstall recstream")
    until(lambda: set(namespace.objects()) == {CLAIM, *BUNDLED}, "something else is left, or a claim is gone")
    namespace.run(INSTALL)
    namespace.settled()


def test_the_claim_of_the_models_is_removed_if_it_is_not_to_be_kept(namespace: Namespace) -> None:
    namespace.values(AUTOSCALING, {"models": {"persistence": {"keep": False}}})
    namespace.run(f"{INSTALL} -f more.yaml")
    namespace.run("helm uninstall recstream")
    until(lambda: not namespace.objects(), "something is left")


def test_changed_jobs_are_replaced(namespace: Namespace) -> None:
    def jobs() -> set[str]:
        return {name for kind, name in namespace.objects() if kind == "Job"}

    namespace.values(AUTOSCALING, {"kafka": {"partitions": 24}})
    namespace.run(INSTALL)
    first = jobs()
    namespace.run(UPGRADE)
    until(lambda: len(jobs()) == len(first) == 1 and not jobs() & first, "the old Job stays")


def test_a_training_starts_by_hand(namespace: Namespace) -> None:
    namespace.values(GPU)
    namespace.run(INSTALL)
    (train,) = commands(OPERATIONS, "kubectl create job")
    namespace.run(train)
    assert ("Job", "train-now") in namespace.objects()
    namespace.settled()


def replicas(namespace: Namespace, component: str) -> int:
    return int(namespace.one("deployment", f"recstream-{component}")["spec"]["replicas"])


def test_an_upgrade_leaves_the_number_of_servers_to_the_autoscaler(namespace: Namespace) -> None:
    namespace.values(AUTOSCALING, {"server": {"preStopSeconds": 15}})
    namespace.run(INSTALL)
    namespace.settled()
    assert replicas(namespace, "server") == 3  # The autoscaler's minimum: the Deployment has no number.
    namespace.run("kubectl scale deployment recstream-server --replicas=8")
    namespace.run(UPGRADE)
    namespace.settled()
    assert replicas(namespace, "server") == 8
    namespace.run("helm rollback recstream")
    assert replicas(namespace, "server") == 8


def test_an_upgrade_is_refused_after_scaling_by_hand_until_the_values_agree(
    namespace: Namespace,
) -> None:
    (scale,) = commands(OPERATIONS, "kubectl scale deployment")
    namespace.values(DEFAULTS, {"server": {"preStopSeconds": 15}})
    namespace.run(INSTALL)
    namespace.run(scale)
    assert ".spec.replicas" in namespace.refusal(UPGRADE)
    namespace.values(DEFAULTS, {"server": {"preStopSeconds": 15, "replicas": 6}})
    namespace.run(UPGRADE)
    assert replicas(namespace, "server") == 6


def test_autoscaling_is_enabled_without_losing_a_pod_once_the_number_was_set_by_hand(
    namespace: Namespace,
) -> None:
    on = {"autoscaling": {"enabled": True, "minReplicas": 2}}
    namespace.values(DEFAULTS, {"server": on, "ingest": on})
    namespace.run(INSTALL)
    namespace.run("kubectl scale deployment recstream-server --replicas=4")
    namespace.run(UPGRADE)
    assert replicas(namespace, "server") == 4
    assert replicas(namespace, "ingest") == 1  # Not set by hand, so it was removed with helm's number.
    off = {"autoscaling": {"enabled": False}}
    namespace.values(DEFAULTS, {"server": {**off, "replicas": 4}, "ingest": {**off, "replicas": 1}})
    namespace.run(UPGRADE)
    assert replicas(namespace, "server") == 4
