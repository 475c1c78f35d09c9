"""Every overlay with every combination of components: valid, restricted, bounded, connected."""

import json
from typing import Any

import pytest
from kube_kit import COMBINATIONS, Object, containers, error_of, name_of, objects, of_kind, pods

VERSIONS = ("1.25", "1.29", "1.33", "1.37")
SINCE = {"modern": "1.33", "models-oci": "1.37"}
CUSTOM = ("gateway.networking.k8s.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1")  # test_kubernetes_custom.py
NOT_OURS = (  # bin/kube.sh apply makes them
    "tensor-jupyter-token",
    "tensor-rest-api-keys",
    "tensor-rest-config",
    "tensor-route-key",
)

each_combination = pytest.mark.parametrize("combination", COMBINATIONS, ids=name_of)
Combination = tuple[str, tuple[str, ...]]


@each_combination
def test_objects_are_valid_in_every_version_they_are_meant_for(combination: Combination) -> None:
    since = max((SINCE.get(component, VERSIONS[0]) for component in combination[1]), default=VERSIONS[0])
    versions = [version for version in VERSIONS if version >= since]
    found = [json.dumps(each) for each in objects(*combination) if each["apiVersion"] not in CUSTOM]
    assert not [error for each in found for version in versions if (error := error_of(each, version))]


def test_an_unknown_field_is_not_valid() -> None:
    service = of_kind(objects("local"), "Service")["tensor-rest"]
    wrong = {**service, "spec": {**service["spec"], "clusterIp": "None"}}
    assert "clusterIp" in error_of(json.dumps(wrong), "1.25")


@each_combination
def test_pods_are_restricted(combination: Combination) -> None:
    namespace = of_kind(objects(*combination), "Namespace")["tensor-lab"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(objects(*combination)).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (1000, 100)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        kinds = {"emptyDir", "persistentVolumeClaim", "configMap", "secret", "image"}
        assert all(kinds & set(each) for each in pod["volumes"])
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
    accounts = of_kind(objects(*combination), "ServiceAccount")
    assert {pod["serviceAccountName"] for pod in pods(objects(*combination)).values()} == set(accounts)
    assert all(each["automountServiceAccountToken"] is False for each in accounts.values())


@each_combination
def test_pods_are_bounded(combination: Combination) -> None:
    for name, pod in pods(objects(*combination)).items():
        for container in containers(pod):
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert {"cpu", "memory"} <= set(limits)
            assert set(requests) == {"cpu", "memory"}
            assert container["image"].partition(":")[0]
            assert not container["image"].endswith(":latest")
            assert ":" in container["image"].rpartition("/")[2]
        assert all(each["emptyDir"].get("sizeLimit") for each in pod["volumes"] if "emptyDir" in each)
        main = pod["containers"][0]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(main), name


@each_combination
def test_names_that_are_referred_to_exist(combination: Combination) -> None:
    found = objects(*combination)
    deployments = of_kind(found, "Deployment")
    labels = {name: each["spec"]["template"]["metadata"]["labels"] for name, each in deployments.items()}
    for name, each in deployments.items():
        assert each["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        for volume in each["spec"]["template"]["spec"]["volumes"]:
            assert _exists(volume, found), f"{name}: {volume}"
        assert all(_variables_exist(container, found) for container in containers(each["spec"]["template"]["spec"]))
    for name, each in of_kind(found, "Service").items():
        assert each["spec"]["selector"].items() <= labels[name].items()
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == name  # a ServiceMonitor goes by it
        ports = {port["name"]: port["containerPort"] for port in pods(found)[name]["containers"][0]["ports"]}
        assert {port["name"]: port["port"] for port in each["spec"]["ports"]} == ports
        assert all(port["targetPort"] == port["name"] for port in each["spec"]["ports"])
    for name, each in of_kind(found, "HorizontalPodAutoscaler").items():
        assert each["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]  # each apply would undo what it decided
    for name, each in of_kind(found, "PodDisruptionBudget").items():
        assert each["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for name, each in of_kind(found, "ScaledObject").items():
        assert each["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]
        assert name not in of_kind(found, "HorizontalPodAutoscaler")
    if "gateway-api" in combination[1]:
        assert not of_kind(found, "Ingress")
        (backend,) = of_kind(found, "HTTPRoute")["tensor-rest"]["spec"]["rules"][0]["backendRefs"]
        assert backend["port"] in [port["port"] for port in of_kind(found, "Service")[backend["name"]]["spec"]["ports"]]
    else:
        ingress = of_kind(found, "Ingress")["tensor-rest"]
        service = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert service == {"name": "tensor-rest", "port": {"name": "http"}}


@each_combination
def test_everything_is_in_the_namespace_and_can_be_deleted(combination: Combination) -> None:
    for each in objects(*combination):
        if each["kind"] != "Namespace":
            assert each["metadata"]["namespace"] == "tensor-lab"
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "tensor-lab"


@pytest.mark.parametrize("overlay", ["eks", "gpu", "local"])
def test_only_the_gateway_reaches_the_model_server(overlay: str) -> None:
    found = objects(overlay)
    for port in (9000, 8502, 8501):
        for source in ("tensor-board", "tensor-jupyter", "outside"):
            open_to_notebooks = overlay == "local" and (source, port) == ("tensor-jupyter", 9000)
            assert reaches(found, source, "tensor-serving", port) is open_to_notebooks, (source, port)
        assert reaches(found, "tensor-rest", "tensor-serving", port) is (port != 8501)


@pytest.mark.parametrize("overlay", ["eks", "gpu", "local"])
def test_the_gateway_alone_is_reached_from_outside(overlay: str) -> None:
    found = objects(overlay)
    ports = {"tensor-rest": 8080, "tensor-board": 6006, "tensor-jupyter": 8888}
    assert [name for name, port in ports.items() if reaches(found, "outside", name, port)] == ["tensor-rest"]
    assert reaches(found, "tensor-jupyter", "tensor-rest", 8080)
    assert reaches(found, "tensor-jupyter", "tensor-board", 6006)
    assert not reaches(found, "tensor-board", "tensor-rest", 8080)
    assert not reaches(found, "outside", "a-pod-of-tomorrow", 80)
    assert not reaches(found, "a-pod-of-tomorrow", "tensor-rest", 8080)


def reaches(found: list[Object], source: str, target: str, port: int) -> bool:
    """Whether the NetworkPolicies let pods of `source`, or "outside", call `target` on the port."""
    policies = [each["spec"] for each in of_kind(found, "NetworkPolicy").values()]
    inward = _allows(policies, target, "ingress", "from", source, port)
    return inward and (source == "outside" or _allows(policies, source, "egress", "to", target, port))


def _allows(policies: list[Object], pod: str, direction: str, peers: str, other: str, port: int) -> bool:
    """All policies that select the pod are added up; without any, everything is allowed."""
    selecting = [each for each in policies if _selects(each["podSelector"], pod)]
    governing = [each for each in selecting if direction.capitalize() in each["policyTypes"]]
    rules = [rule for each in governing for rule in each.get(direction, [])]
    fitting = [rule for rule in rules if "ports" not in rule or port in [each["port"] for each in rule["ports"]]]
    return not governing or any(peers not in rule or _any(rule[peers], other) for rule in fitting)


def _any(peers: list[Object], other: str) -> bool:
    return any("podSelector" in each and _selects(each["podSelector"], other) for each in peers)


def _selects(selector: Object, pod: str) -> bool:
    labels = {"app.kubernetes.io/name": pod, "app.kubernetes.io/part-of": "tensor-lab"}
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))


def _exists(volume: Object, found: list[Object]) -> Any:
    if "persistentVolumeClaim" in volume:
        return volume["persistentVolumeClaim"]["claimName"] in of_kind(found, "PersistentVolumeClaim")
    named = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get("secretName")
    return {"emptyDir", "image"} & set(volume) or named in NOT_OURS


def _variables_exist(container: Object, found: list[Object]) -> bool:
    given = container.get("envFrom", [])
    named = {each["configMapRef"]["name"] for each in given if "configMapRef" in each}
    secrets = [each["secretRef"] for each in given if "secretRef" in each]
    return named <= set(of_kind(found, "ConfigMap")) and all(each["optional"] for each in secrets)
