"""A real Kubernetes API server on loopback, with etcd and the controller manager: for `make test-kubernetes`.

Nothing schedules or runs pods: they stay pending.
"""

import asyncio
import json
import os
import secrets
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from embedded.ports import free_port
from embedded.process import Process
from helm_chart import ROOT

PROGRAMS = ROOT / ".cache" / "kubernetes"
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager")
Object = dict[str, Any]

# Made by Kubernetes itself in every namespace, or as a trace of what was there.
ALWAYS_THERE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
TRACES = {"Event", "Lease"}


class Kubernetes:
    """The three servers, their data in `folder`. `start` before anything else, `kill` at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.kubeconfig = folder / "kubeconfig"
        self._processes = {name: Process(name, folder / f"{name}.log") for name in NAMES}
        self._trust = ssl.create_default_context()
        self._trust.check_hostname = False
        self._trust.verify_mode = ssl.CERT_NONE

    def start(self) -> None:
        """Start them, one after the other, each ready before the next."""
        key, tokens = self.folder / "sa.key", self.folder / "tokens.csv"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')
        self._write_kubeconfig()
        store, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._spawn(
            "etcd", "--unsafe-no-fsync", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        self._spawn(
            "kube-apiserver", f"--etcd-servers={store}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={self.folder / 'certs'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
        )  # fmt: skip
        asyncio.run(self._processes["kube-apiserver"].ready(self._answers, 120))
        self._spawn(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
            "--controllers=*,-nodeipam,-service-lb-controller,-node-route-controller",
            f"--secure-port={free_port()}",
        )  # fmt: skip

    def kill(self) -> None:
        """End them."""
        for name in reversed(NAMES):
            self._processes[name].kill()

    def helm(self, *arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        """What helm says, with this server."""
        command = [*arguments, "--kubeconfig", str(self.kubeconfig)]
        if values is not None:
            command += ["--values", "-"]
        return subprocess.run(
            command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=120, check=False
        )

    def call(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        """An answer of the API server. Raises HTTPError."""
        request = Request(
            f"https://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )
        with urlopen(request, context=self._trust, timeout=30) as answer:
            found: Object = json.load(answer)
        return found

    def define(self, definition: Object) -> None:
        """Make a custom resource's definition, and wait until it is served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.call("POST", path, definition)
        name = definition["metadata"]["name"]
        until(lambda: established(self.call("GET", f"{path}/{name}")), f"{name} is not served")

    def objects(self, namespace: str) -> dict[tuple[str, str], Object]:
        """All that is in a namespace, by kind and name, less what Kubernetes puts there itself."""
        found: dict[tuple[str, str], Object] = {}
        groups = ["/api/v1"]
        for group in self.call("GET", "/apis")["groups"]:
            groups += [f"/apis/{version['groupVersion']}" for version in group["versions"]]
        for path in groups:
            for resource in self.call("GET", path)["resources"]:
                if (
                    not resource["namespaced"]
                    or "list" not in resource["verbs"]
                    or resource["kind"] in TRACES
                ):
                    continue
                listed = self.call("GET", f"{path}/namespaces/{namespace}/{resource['name']}")
                for each in listed["items"]:
                    found.setdefault((resource["kind"], each["metadata"]["name"]), each)
        return {key: each for key, each in found.items() if key not in ALWAYS_THERE}

    def _spawn(self, name: str, *arguments: str) -> None:
        self._processes[name].spawn([PROGRAMS / name, *arguments], {"PATH": os.defpath}, self.folder)

    async def _answers(self) -> bool:
        try:
            request = Request(
                f"https://127.0.0.1:{self.port}/readyz", headers={"Authorization": f"Bearer {self.token}"}
            )
            with urlopen(request, context=self._trust, timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, HTTPError, OSError):
            return False

    def _write_kubeconfig(self) -> None:
        server = {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "here", "cluster": server}],
                    "users": [{"name": "admin", "user": {"token": self.token}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
                    "current-context": "here",
                }
            )
        )


def established(definition: Object) -> bool:
    """Whether a definition is served."""
    conditions = definition.get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def until(true: Any, otherwise: str, seconds: float = 60) -> None:
    """Wait for it, and fail with these words."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.2)
