"""A namespace of the API server of tests/helm/kubernetes_world.py, and a shell in it: for `make test-kubernetes`."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.helm.chart import ROOT, Loader, tool
from tests.helm.kubernetes_world import PROGRAMS, Key, Kubernetes, Object, until

# Large enough for all; but a container that says not what it wants gets nothing of it.
QUOTA = {"requests.cpu": "1k", "requests.memory": "1Ti", "limits.memory": "1Ti", "requests.storage": "1Ti"}
# Of metadata: what Kubernetes and helm write there themselves.
THEIRS = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation", "meta.helm.sh/")


class Namespace:
    """One under the Pod Security Standard `restricted` and a quota.

    Its folder looks like a checkout to an operator: `helm/recstream` and a `values.yaml` of theirs.
    """

    def __init__(self, kubernetes: Kubernetes, name: str) -> None:
        self.name = name
        self._kubernetes = kubernetes
        self._folder = kubernetes.folder / name
        self._folder.mkdir()
        (self._folder / "helm").symlink_to(ROOT / "helm")
        (self._folder / "kubeconfig").write_text(kubernetes.kubeconfig(name))
        modes = ("enforce", "warn", "audit")
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
        kubernetes.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        quotas = f"/api/v1/namespaces/{name}/resourcequotas"
        kubernetes.call("POST", quotas, {"metadata": {"name": "all"}, "spec": {"hard": QUOTA}})
        until(
            lambda: kubernetes.call("GET", f"{quotas}/all").get("status", {}).get("hard") == QUOTA,
            "the quota is not counted",
        )

    def values(self, file: Path, changed: Mapping[str, Any] | None = None) -> None:
        """Have them in values.yaml; what is changed lies in more.yaml, for a second `-f`."""
        shutil.copy(file, self._folder / "values.yaml")
        (self._folder / "more.yaml").write_text(json.dumps(changed or {}))

    def run(self, line: str) -> str:
        """What a line of helm or kubectl prints. It fails where one warns of anything."""
        done = self._run(line)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not done.stderr, done.stderr
        return done.stdout

    def complaint(self, line: str) -> str:
        """What it says on standard error; it must say something."""
        done = self._run(line)
        assert done.stderr, done.stdout
        return done.stderr

    def refusal(self, line: str) -> str:
        """What is said of a line that fails."""
        done = self._run(line)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def objects(self) -> dict[Key, Object]:
        """All that is there, but for the quota."""
        found = self._kubernetes.objects(self.name)
        del found["ResourceQuota", "all"]
        return found

    def sent(self, release: str = "recstream") -> list[Object]:
        """What helm has sent."""
        return [each for each in yaml.load_all(self.run(f"helm get manifest {release}"), Loader) if each]

    def live(self, sent: list[Object]) -> dict[Key, Object]:
        """What became of each of these. Fails where one is not there."""
        found = {self.name: self.objects()}
        for place in {each["metadata"]["namespace"] for each in sent} - {self.name}:
            found[place] = self._kubernetes.objects(place)
        return {key(each): found[each["metadata"]["namespace"]][key(each)] for each in sent}

    def state(self) -> dict[Key, Object]:
        """What the release's objects are now: what somebody has said of them, and not what is noted of them."""
        return {name: said(each) for name, each in self.live(self.sent()).items()}

    def one(self, kind: str, name: str) -> Object:
        """One object."""
        found: Object = json.loads(self.run(f"kubectl get {kind} {name} -o json"))
        return found

    def settled(self, seconds: float = 60) -> None:
        """Wait until each workload has its pods, of its newest revision at least one; none may have been refused."""
        until(
            lambda: not self._unmade(), lambda: f"no pods of {self._unmade()}: {self.refused_pods()}", seconds
        )
        assert not self.refused_pods()

    def refused_pods(self) -> list[str]:
        """What the server said of pods that it did not take."""
        events = self._kubernetes.call("GET", f"/api/v1/namespaces/{self.name}/events")["items"]
        return [each["message"] for each in events if each["reason"] == "FailedCreate"]

    def leave(self) -> None:
        """Take the release away: it may have objects in other namespaces. This one stays until the servers go."""
        self._run("helm uninstall recstream --ignore-not-found")

    def _unmade(self) -> list[Key]:
        found = self.objects()
        least = {
            name: each["spec"]["minReplicas"]
            for (kind, name), each in found.items()
            if kind == "HorizontalPodAutoscaler"
        }
        unmade = []
        for (kind, name), each in found.items():
            status = each.get("status", {})
            if kind in ("Deployment", "StatefulSet"):
                wanted = max(each["spec"]["replicas"], least.get(name, 0))
                # An update gets no further than its first pods, since none becomes ready.
                updated = status.get("updatedReplicas") and (
                    status["observedGeneration"] == each["metadata"]["generation"]
                )
                made = bool(updated and status["replicas"] >= wanted)
            elif kind == "Job":
                made = status.get("active") == 1
            else:
                continue
            if not made:
                unmade.append((kind, name))
        return unmade

    def _run(self, line: str) -> subprocess.CompletedProcess[str]:
        name, *words = shlex.split(line)
        program = tool("helm") if name == "helm" else str(PROGRAMS / name)
        home = str(self._folder)
        return subprocess.run(
            [program, *words],
            env={"PATH": os.defpath, "HOME": home, "KUBECONFIG": f"{home}/kubeconfig"},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def key(each: Object) -> Key:
    """Kind and name."""
    return each["kind"], each["metadata"]["name"]


def said(each: Object) -> Object:
    """An object without its status and what Kubernetes and helm note in its metadata."""
    metadata = {
        "labels": each["metadata"].get("labels", {}),
        "annotations": {
            name: value
            for name, value in each["metadata"].get("annotations", {}).items()
            if not name.startswith(THEIRS)
        },
    }
    rest = {name: value for name, value in each.items() if name not in ("metadata", "status")}
    # A Job's pods are labelled with its id, which is another when it is made anew.
    text = json.dumps({**rest, "metadata": metadata}).replace(each["metadata"].get("uid", "no id"), "its id")
    told: Object = json.loads(text)
    return told
