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

# Large enough for all pods, but a container that states no needs gets nothing of it.
QUOTA = {"requests.cpu": "1k", "requests.memory": "1Ti", "limits.memory": "1Ti", "requests.storage": "1Ti"}
# Fields of metadata that Kubernetes and helm write themselves.
THEIRS = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation", "meta.helm.sh/")


class Namespace:
    """A namespace with the Pod Security Standard `restricted` and a quota.

    Its folder is like an operator's checkout: it has `helm/recstream` and a `values.yaml`.
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
        """Writes values.yaml. Changed values are in more.yaml, for a second `-f`."""
        shutil.copy(file, self._folder / "values.yaml")
        (self._folder / "more.yaml").write_text(json.dumps(changed or {}))

    def run(self, line: str) -> str:
        """Returns the output of a line of helm or kubectl. Fails if it warns."""
        done = self._run(line)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not done.stderr, done.stderr
        return done.stdout

    def complaint(self, line: str) -> str:
        """Returns what a line prints to standard error, which must not be empty."""
        done = self._run(line)
        assert done.stderr, done.stdout
        return done.stderr

    def refusal(self, line: str) -> str:
        """Returns the error of a line that fails."""
        done = self._run(line)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def objects(self) -> dict[Key, Object]:
        """Returns all objects, without the quota."""
        found = self._kubernetes.objects(self.name)
        del found["ResourceQuota", "all"]
        return found

    def sent(self, release: str = "recstream") -> list[Object]:
        """Returns the objects that helm has sent."""
        return [each for each in yaml.load_all(self.run(f"helm get manifest {release}"), Loader) if each]

    def live(self, sent: list[Object]) -> dict[Key, Object]:
        """Returns the live form of each of these objects. Fails if one is missing."""
        found = {self.name: self.objects()}
        for place in {each["metadata"]["namespace"] for each in sent} - {self.name}:
            found[place] = self._kubernetes.objects(place)
        return {key(each): found[each["metadata"]["namespace"]][key(each)] for each in sent}

    def state(self) -> dict[Key, Object]:
        """Returns the current state of the release's objects, without what Kubernetes and helm note in them."""
        return {name: said(each) for name, each in self.live(self.sent()).items()}

    def one(self, kind: str, name: str) -> Object:
        """Returns one object."""
        found: Object = json.loads(self.run(f"kubectl get {kind} {name} -o json"))
        return found

    def settled(self, seconds: float = 60) -> None:
        """Waits until each workload has its pods, at least one of them of its newest revision. None may have been
        refused."""
        until(
            lambda: not self._unmade(), lambda: f"no pods of {self._unmade()}: {self.refused_pods()}", seconds
        )
        assert not self.refused_pods()

    def refused_pods(self) -> list[str]:
        """Returns the server's errors for pods that it refused."""
        events = self._kubernetes.call("GET", f"/api/v1/namespaces/{self.name}/events")["items"]
        return [each["message"] for each in events if each["reason"] == "FailedCreate"]

    def leave(self) -> None:
        """Uninstalls the release, which may have objects in other namespaces. The namespace stays until the servers
        end."""
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
                # An update stops at its first pods, because none becomes ready.
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
    """Returns kind and name."""
    return each["kind"], each["metadata"]["name"]


def said(each: Object) -> Object:
    """Returns an object without its status and without what Kubernetes and helm note in its metadata."""
    metadata = {
        "labels": each["metadata"].get("labels", {}),
        "annotations": {
            name: value
            for name, value in each["metadata"].get("annotations", {}).items()
            if not name.startswith(THEIRS)
        },
    }
    rest = {name: value for name, value in each.items() if name not in ("metadata", "status")}
    # A Job's pods have its id as a label, which changes when the Job is created again.
    text = json.dumps({**rest, "metadata": metadata}).replace(each["metadata"].get("uid", "no id"), "its id")
    parsed: Object = json.loads(text)
    return parsed
