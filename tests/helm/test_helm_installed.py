"""The chart in a real API server: `make test-kubernetes`, which builds one first.

A server finds errors that no check of files finds: names that are taken, inconsistent fields, pods that the namespace
forbids. Its warnings, including those of deprecated fields, fail these tests.
"""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import CHART, VALUES, Object
from tests.helm.kubernetes_namespace import Namespace, key, said

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
INSTALL = "helm install recstream helm/recstream -f values.yaml"
MORE = f"{INSTALL} -f more.yaml"
DEFAULTS = CHART / "ci" / "defaults-values.yaml"
UNITS = {"m": "0.001", "k": "1e3", "M": "1e6", "G": "1e9", "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

PORT: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "wrong"},
    "spec": {"ports": [{"port": 70_000}]},
}
FIELD: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "wrong"},
    "spec": {"ports": [{"port": 80}], "portz": []},
}
MONITOR: Object = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "ServiceMonitor",
    "metadata": {"name": "wrong"},
    "spec": {"selector": {}, "endpoints": [{"port": "http", "interval": "soon"}]},
}
OLD: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "old"}}


@pytest.mark.parametrize("file", VALUES, ids=lambda file: file.name)
def test_every_object_is_accepted_and_kept_as_it_was_sent_and_every_pod_is_made(
    file: Path, namespace: Namespace
) -> None:
    namespace.values(file)
    notes = namespace.run(INSTALL)
    assert f"recstream 0.1.0 in namespace {namespace.name}." in notes
    assert f"kubectl -n {namespace.name} rollout status deployment/recstream-server" in notes
    sent = namespace.sent()
    live = namespace.live(sent)
    for each in sent:
        differs = difference(said(each), said(live[key(each)]), "")
        assert differs is None, f"{key(each)}: {differs}"
    namespace.settled()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [(PORT, "70000"), (FIELD, "portz"), (MONITOR, "interval")],
    ids=lambda each: str(each)[:40],
)
def test_nonsense_is_refused(wrong: Object, words: str, namespace: Namespace) -> None:
    namespace.values(DEFAULTS, {"extraObjects": [wrong]})
    assert words in namespace.refusal(MORE)


def test_a_deprecated_kind_is_warned_of(namespace: Namespace) -> None:
    namespace.values(DEFAULTS, {"extraObjects": [OLD]})
    assert "deprecated" in namespace.complaint(MORE)


def test_a_pod_that_the_namespace_forbids_is_warned_of_and_not_created(namespace: Namespace) -> None:
    careless = {"containerSecurityContext": {"allowPrivilegeEscalation": True}}
    namespace.values(DEFAULTS, {"catalogue": careless})
    assert "would violate PodSecurity" in namespace.complaint(MORE)
    with pytest.raises(AssertionError, match="recstream-catalogue.*violates PodSecurity"):
        namespace.settled(seconds=10)


def test_a_pod_without_requests_is_not_created_under_a_quota(namespace: Namespace) -> None:
    namespace.values(DEFAULTS, {"catalogue": {"resources": {"limits": {"memory": None}}}})
    namespace.run(MORE)
    with pytest.raises(AssertionError, match="recstream-catalogue.*must specify limits.memory"):
        namespace.settled(seconds=10)


def difference(sent: Any, live: Any, where: str) -> str | None:
    """Yields where the server's object differs from what was sent. The server may add fields, and leave out empty
    ones."""
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


def same(sent: Any, live: Any) -> bool:
    """Whether the values are equal, or the same quantity written in another way."""
    return bool(sent == live or (quantity(sent) is not None and quantity(sent) == quantity(live)))


def quantity(text: Any) -> Decimal | None:
    """Parses 1Gi, 2000, 2k."""
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
