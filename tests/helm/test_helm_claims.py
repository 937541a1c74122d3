"""What the chart promises about its objects."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.helm.chart import VALUES, Object, containers, merged, of, pod, rendered, workloads

EXTERNAL = next(file for file in VALUES if file.name.startswith("external"))
LONG = "a-release-whose-name-is-as-long-as-helm-lets-it-be-xx"
ALL: Mapping[str, Any] = {
    "server": {
        "autoscaling": {"enabled": True},
        "grpcRoute": {"enabled": True, "parentRefs": [{"name": "g"}]},
    },
    "ingest": {"autoscaling": {"enabled": True}},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "jobs": {"publish": {"enabled": True}, "retrain": {"enabled": True, "publish": {"enabled": True}}},
}


@pytest.fixture(scope="module", params=VALUES, ids=lambda file: file.name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(request.param)


def names(objects: list[Object], kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in objects if each["kind"] == kind}


def test_pods_are_fit_for_the_restricted_standard(objects: list[Object]) -> None:
    for each in workloads(objects):
        spec = pod(each)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(each):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, container["name"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            if container["name"] not in ("folders", "wait"):  # The second one is the user's own.
                assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_pods_state_everything_that_a_quota_needs(objects: list[Object]) -> None:
    for each in workloads(objects):
        for container in containers(each):
            given = container["resources"]
            assert {"cpu", "memory"} <= set(given["requests"]), container["name"]
            assert "memory" in given["limits"], container["name"]


def test_mounted_files_and_volumes_exist(objects: list[Object]) -> None:
    configs = names(objects, "ConfigMap")
    for each in workloads(objects):
        spec = pod(each)["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        claimed = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        for container in containers(each):
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in volumes or mount["name"] in claimed
        for volume in volumes.values():
            assert "configMap" not in volume or volume["configMap"]["name"] in configs


def test_services_and_budgets_select_existing_pods(objects: list[Object]) -> None:
    labels = [pod(each)["metadata"]["labels"].items() for each in workloads(objects)]
    for each in objects:
        if each["kind"] == "Service":
            selector = each["spec"]["selector"]
        elif each["kind"] == "PodDisruptionBudget":
            selector = each["spec"]["selector"]["matchLabels"]
        elif each["kind"] == "NetworkPolicy":
            selector = each["spec"]["podSelector"]["matchLabels"]
        else:
            continue
        assert sum(selector.items() <= found for found in labels) == 1, each["metadata"]["name"]


def test_service_monitors_find_one_service_with_their_port(objects: list[Object]) -> None:
    services = [each for each in objects if each["kind"] == "Service"]
    for each in objects:
        if each["kind"] == "ServiceMonitor":
            wanted = each["spec"]["selector"]["matchLabels"].items()
            found = [one for one in services if wanted <= one["metadata"]["labels"].items()]
            assert len(found) == 1, each["metadata"]["name"]
            ports = {port["name"] for port in found[0]["spec"]["ports"]}
            assert {end["port"] for end in each["spec"]["endpoints"]} <= ports


def test_no_object_is_rendered_twice(objects: list[Object]) -> None:
    keys = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(keys) == len(set(keys))


def test_secrets_are_referenced_and_never_created(objects: list[Object]) -> None:
    assert not names(objects, "Secret")
    for each in workloads(objects):
        for container in containers(each):
            for variable in container.get("env", []):
                if "PASSWORD" in variable["name"] or "USERNAME" in variable["name"]:
                    assert set(variable) == {"name", "valueFrom"}


@pytest.mark.parametrize("release", ["r", "recstream", "20260101", "1e3", LONG])
def test_names_stay_within_their_limits(release: str) -> None:
    for each in rendered(values=ALL, release=release):
        name = each["metadata"]["name"]
        # The pods of a StatefulSet have its name and a hash as a label, and CronJobs append a time.
        assert len(name) <= (52 if each["kind"] in ("StatefulSet", "CronJob") else 63), name
        assert all(
            isinstance(value, str) and len(value) <= 63 for value in each["metadata"]["labels"].values()
        )


def test_long_release_names_that_differ_at_the_end_do_not_collide() -> None:
    first, second = (names(rendered(release=LONG[:-1] + end), "Deployment") for end in "ab")
    assert not first & second


def test_selectors_have_no_version_and_no_label_of_the_user() -> None:
    values = {
        "commonLabels": {"team": "a"},
        "server": {"podLabels": {"x": "y", "app.kubernetes.io/component": "z"}},
    }
    for each in workloads(rendered(values=values)):
        if "selector" in each["spec"]:
            assert set(each["spec"]["selector"]["matchLabels"]) == {
                "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component",
            }  # fmt: skip
            assert each["spec"]["selector"]["matchLabels"].items() <= pod(each)["metadata"]["labels"].items()


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)])
def test_only_components_with_two_replicas_have_a_budget(replicas: int, budgets: int) -> None:
    one = {"replicas": 1}
    found = rendered(values={"server": {"replicas": replicas}, "ingest": one, "catalogue": one})
    assert len(names(found, "PodDisruptionBudget")) == budgets


def test_a_budget_depends_on_the_minimum_of_the_autoscaler() -> None:
    scaled = {"autoscaling": {"enabled": True, "minReplicas": 1}, "replicas": 9}
    assert names(rendered(values={"server": scaled}), "PodDisruptionBudget") == {"rel-recstream-ingest"}


@pytest.mark.parametrize("component", ["server", "ingest"])
def test_scaled_components_have_no_replicas(component: str) -> None:
    scaled = {component: {"autoscaling": {"enabled": True}}}
    assert "replicas" not in of(rendered(values=scaled), "Deployment", component)["spec"]
    assert of(rendered(), "Deployment", component)["spec"]["replicas"] == 2


@pytest.mark.parametrize(("partitions", "most"), [(4, 4), (40, 12)])
def test_ingest_never_scales_past_the_partitions(partitions: int, most: int) -> None:
    values = {"kafka": {"partitions": partitions}, "ingest": {"autoscaling": {"enabled": True}}}
    found = of(rendered(values=values), "ScaledObject", "ingest")["spec"]
    assert found["maxReplicaCount"] == most
    for trigger in found["triggers"]:
        assert trigger["metadata"]["excludePersistentLag"] == "true"
        assert trigger["metadata"]["allowIdleConsumers"] == "false"


def test_a_pod_has_time_for_all_of_its_drain() -> None:
    values = {"server": {"preStopSeconds": 30, "drainSeconds": 20.5, "terminationGracePeriodSeconds": 56}}
    spec = pod(of(rendered(values=values), "Deployment", "server"))["spec"]
    sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= sleep + 20.5 + 5


def test_an_upgrade_ends_no_server_before_its_successor_is_ready() -> None:
    spec = of(rendered(), "Deployment", "server")["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }  # fmt: skip
    container = pod(of(rendered(), "Deployment", "server"))["spec"]["containers"][0]
    assert container["readinessProbe"]["grpc"] == container["startupProbe"]["grpc"] == {"port": 50051}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}


def test_only_pods_that_read_a_setting_restart_when_it_changes() -> None:
    def checksum(values: Mapping[str, Any], component: str) -> str:
        annotations = pod(of(rendered(values=values), "Deployment", component))["metadata"]["annotations"]
        return str(annotations["recstream/settings"])

    ranking = {"config": {"ranking": {"trending_half_life_hours": 3}}}
    assert checksum(ranking, "server") != checksum({}, "server")
    assert checksum(ranking, "ingest") == checksum({}, "ingest")


def test_a_changed_job_has_another_name() -> None:
    def published(**publish: Any) -> set[str]:
        return names(rendered(values={"jobs": {"publish": {"enabled": True, **publish}}}), "Job")

    assert published() == published()
    assert published() != published(canary=0.1)
    assert published() != published(run="again")


def test_no_object_is_a_hook(objects: list[Object]) -> None:
    for each in objects:
        assert "helm.sh/hook" not in each["metadata"].get("annotations", {})


def test_images_can_be_named_by_registry_tag_and_digest() -> None:
    def image(values: Mapping[str, Any]) -> str:
        spec = pod(of(rendered(values=values), "Deployment", "server"))["spec"]
        return str(spec["containers"][0]["image"])

    digest = "sha256:" + "0" * 64
    own = {"server": {"image": {"registry": "b", "repository": "c", "tag": "d"}}}
    assert image({}) == "recstream-server:0.1.0"
    assert image({"image": {"registry": "a/x/"}}) == "a/x/recstream-server:0.1.0"
    assert image(own) == "b/c:d"
    assert image({**own, "global": {"imageRegistry": "g"}}) == "g/c:d"
    assert image({"server": {"image": {"digest": digest}}}) == f"recstream-server@{digest}"


def test_a_restricted_pod_reaches_what_it_needs_and_nothing_else() -> None:
    values = {"networkPolicy": {"restrictEgress": True}}
    found = rendered(EXTERNAL, values=values)
    rules = of(found, "NetworkPolicy", "server")["spec"]["egress"]
    ports = [port["port"] for rule in rules for port in rule["ports"]]
    assert ports == [53, 53, 9093, 9094, 6379, 6380, 443]
    kept = of(rendered(values=values), "NetworkPolicy", "triton")["spec"]
    assert [port["port"] for rule in kept["egress"] for port in rule["ports"]] == [53, 53]


def test_a_version_is_loaded_on_every_triton_before_it_gets_users() -> None:
    values = {"triton": {"replicas": 3}, "jobs": {"publish": {"enabled": True, "canary": 0.1}}}
    spec = pod(of(rendered(values=values), "Job", "publish"))["spec"]
    before, last = spec["initContainers"], spec["containers"][0]
    addresses = [container["args"][1].partition("=")[2] for container in [*before, last]]
    headless = "rel-recstream-triton-headless.shop.svc.cluster.local:8001"
    assert addresses == [f"rel-recstream-triton-{number}.{headless}" for number in range(3)]
    assert all(container["args"][-3:] == ["--canary", "0", "--no-wait"] for container in before)
    assert last["args"][-3:] == ["--canary", "0.1", "--wait"]


def test_on_gpus_the_repository_is_written_before_and_triton_watches_it() -> None:
    gpu = {"backend": "onnxruntime", "gpu": {"enabled": True, "count": 2}}
    values = merged({"triton": gpu}, {"jobs": {"publish": {"enabled": True}}})
    found = rendered(values=values)
    triton = of(found, "StatefulSet", "triton")
    container = pod(triton)["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert "--model-control-mode=poll" in container["args"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod(triton)["spec"][
        "tolerations"
    ]
    spec = pod(of(found, "Job", "publish"))["spec"]
    assert spec["initContainers"][0]["args"][:2] == ["model", "repository"]
    assert "--gpu" in spec["initContainers"][0]["args"]


def test_without_a_claim_all_readers_of_models_fetch_them() -> None:
    found = rendered(EXTERNAL, values={"triton": {"enabled": True}})
    for kind, component in (("StatefulSet", "triton"), ("Deployment", "catalogue"), ("Job", "publish")):
        spec = pod(of(found, kind, component))["spec"]
        assert "fetch" in [container["name"] for container in spec["initContainers"]]
        assert "emptyDir" in next(volume for volume in spec["volumes"] if volume["name"] == "models")


def test_names_that_look_like_numbers_stay_names() -> None:
    secret = {"existingSecret": "1", "passwordKey": "2"}
    values = {
        "namespaceOverride": "3",
        "fullnameOverride": "4",
        "kafka": {"sasl": {"mechanism": "PLAIN", "usernameKey": "5", **secret}},
        "valkey": {"auth": secret},
        "ingest": {"autoscaling": {"enabled": True}},
    }
    found = rendered(values=values)
    assert {each["metadata"]["namespace"] for each in found} == {"3"}
    spec = pod(of(found, "Deployment", "server"))["spec"]
    assert spec["serviceAccountName"] == "4"
    keys = [each["valueFrom"]["secretKeyRef"] for each in spec["containers"][0]["env"] if "valueFrom" in each]
    assert [(key["name"], key["key"]) for key in keys] == [("1", "5"), ("1", "2"), ("1", "2")]
    login = next(each for each in found if each["kind"] == "TriggerAuthentication")["spec"]["secretTargetRef"]
    assert [(each["name"], each["key"]) for each in login] == [("1", "5"), ("1", "2")]
