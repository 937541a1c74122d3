"""A real Kubernetes API server on loopback, with etcd and the controller manager: for `make test-kubernetes`.

Nothing schedules or runs pods, so they stay pending.
"""

import asyncio
import functools
import json
import os
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from local.servers.ports import free_port
from local.servers.process import Process
from tests.helm.chart import ROOT

PROGRAMS = ROOT / ".cache" / "kubernetes"
SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager")
Object = dict[str, Any]
Key = tuple[str, str]

# Objects that Kubernetes creates in every namespace, or as records of events.
ALWAYS_THERE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
TRACES = {"Event", "Lease"}


class Kubernetes:
    """The three servers, with their data in `folder`. Call `start` first, and `kill` at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port, self._manager_port = free_port(), free_port()
        self._token = secrets.token_hex(16)
        self._processes = {name: Process(name, folder / f"{name}.log") for name in SERVERS}
        self._trust = ssl.create_default_context()
        self._trust.check_hostname = False
        self._trust.verify_mode = ssl.CERT_NONE

    def start(self) -> None:
        """Starts the servers, one after the other, each when the previous one is ready."""
        key, tokens = self.folder / "sa.key", self.folder / "tokens.csv"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens.write_text(f'{self._token},admin,admin,"system:masters"\n')
        config = self.folder / "kubeconfig"
        config.write_text(self.kubeconfig("default"))
        store, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._spawn(
            "etcd", "--unsafe-no-fsync", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        self._spawn(
            "kube-apiserver", f"--etcd-servers={store}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self._port}", f"--cert-dir={self.folder / 'certs'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
        )  # fmt: skip
        self._await("kube-apiserver", self._port, "/readyz")
        self._spawn(
            "kube-controller-manager", f"--kubeconfig={config}", "--leader-elect=false",
            "--controllers=*,-nodeipam,-service-lb-controller,-node-route-controller",
            "--bind-address=127.0.0.1", f"--secure-port={self._manager_port}",
            f"--cert-dir={self.folder / 'manager-certs'}",
        )  # fmt: skip
        self._await("kube-controller-manager", self._manager_port, "/healthz")

    def kill(self) -> None:
        """Ends the servers."""
        for name in reversed(SERVERS):
            self._processes[name].kill()

    def kubeconfig(self, namespace: str) -> str:
        """Writes a configuration for clients. This namespace is the default."""
        server = {"server": f"https://127.0.0.1:{self._port}", "insecure-skip-tls-verify": True}
        context = {"cluster": "here", "user": "admin", "namespace": namespace}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": server}],
                "users": [{"name": "admin", "user": {"token": self._token}}],
                "contexts": [{"name": "here", "context": context}],
                "current-context": "here",
            }
        )

    def call(self, method: str, path: str, body: Object | None = None) -> Object:
        """Returns an answer of the API server. Raises HTTPError."""
        request = Request(
            f"https://127.0.0.1:{self._port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        with urlopen(request, context=self._trust, timeout=30) as answer:
            found: Object = json.load(answer)
        return found

    def define(self, definition: Object) -> None:
        """Creates a custom resource's definition, and waits until its resources can be listed."""
        self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        spec = definition["spec"]
        version = next(each["name"] for each in spec["versions"] if each["served"])
        path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        until(lambda: self._serves(path), f"{path} is not served")

    def objects(self, namespace: str) -> dict[Key, Object]:
        """Returns all objects in a namespace, by kind and name, without those that Kubernetes creates itself."""
        found: dict[Key, Object] = {}
        for path, kind, resource in self._listable:
            listed = self.call("GET", f"{path}/namespaces/{namespace}/{resource}")
            for each in listed["items"]:
                whole = {"apiVersion": listed["apiVersion"], "kind": kind, **each}
                found.setdefault((kind, each["metadata"]["name"]), whole)
        return {key: each for key, each in found.items() if key not in ALWAYS_THERE}

    @functools.cached_property
    def _listable(self) -> list[tuple[str, str, str]]:
        """Yields path, kind and plural of everything that a namespace can have, a kind's preferred version first."""
        paths = ["/api/v1"]
        for group in self.call("GET", "/apis")["groups"]:
            paths += [f"/apis/{version['groupVersion']}" for version in group["versions"]]
        return [
            (path, resource["kind"], resource["name"])
            for path in paths
            for resource in self.call("GET", path)["resources"]
            if resource["namespaced"] and "list" in resource["verbs"] and resource["kind"] not in TRACES
        ]

    def _serves(self, path: str) -> bool:
        try:
            self.call("GET", path)
        except HTTPError as error:
            if error.code not in (404, 429):  # The definition is not known yet, or not ready.
                raise
            return False
        return True

    def _spawn(self, name: str, *arguments: str) -> None:
        self._processes[name].spawn([PROGRAMS / name, *arguments], {"PATH": os.defpath}, self.folder)

    def _await(self, name: str, port: int, path: str) -> None:
        async def answers() -> bool:
            request = Request(
                f"https://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {self._token}"}
            )
            try:
                with urlopen(request, context=self._trust, timeout=2) as answer:
                    return bool(answer.status == 200)
            except HTTPError:
                return False  # It listens, but is not ready.

        asyncio.run(self._processes[name].ready(answers, 120))


def until(true: Callable[[], bool], otherwise: str | Callable[[], str], seconds: float = 60) -> None:
    """Waits for a condition, and fails with this message."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(0.2)
